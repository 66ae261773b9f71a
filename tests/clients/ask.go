// Ask a gateway through Cohere's Go client: ask URL TOO_LATE. Prints the places of the documents, best first, as JSON;
// then asks the server at TOO_LATE, which answers 504 and counts.
package main

import (
	"context"
	"encoding/json"
	"os"

	cohere "github.com/cohere-ai/cohere-go/v2"
	"github.com/cohere-ai/cohere-go/v2/client"
	"github.com/cohere-ai/cohere-go/v2/option"
)

func main() {
	answer, err := ask(os.Args[1])
	if err != nil {
		panic(err)
	}
	places := []int{}
	for _, result := range answer.Results {
		places = append(places, result.Index)
	}
	_ = json.NewEncoder(os.Stdout).Encode(places)
	_, _ = ask(os.Args[2])
}

func ask(url string) (*cohere.V2RerankResponse, error) {
	asked := client.NewClient(option.WithToken("any"), option.WithBaseURL(url))
	return asked.V2.Rerank(context.Background(), &cohere.V2RerankRequest{
		Model: "any", Query: "lead pipe", Documents: []string{"gold ring", "a lead pipe", "pipe"},
	})
}
