// Ask a gateway through Cohere's Go client: ask URL. Prints the places of the documents, best first, as JSON.
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
	asked := client.NewClient(option.WithToken("any"), option.WithBaseURL(os.Args[1]))
	answer, err := asked.V2.Rerank(context.Background(), &cohere.V2RerankRequest{
		Model: "any", Query: "lead pipe", Documents: []string{"gold ring", "a lead pipe", "pipe"},
	})
	if err != nil {
		panic(err)
	}
	places := []int{}
	for _, result := range answer.Results {
		places = append(places, result.Index)
	}
	_ = json.NewEncoder(os.Stdout).Encode(places)
}
