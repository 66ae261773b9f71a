import java.util.List;

import com.cohere.api.Cohere;
import com.cohere.api.resources.v2.requests.V2RerankRequest;

/** Ask a gateway through Cohere's Java client: java -cp ... AskCohere.java URL. Prints the places, best first, as JSON. */
public final class AskCohere {
    public static void main(String[] arguments) {
        var documents = List.of("gold ring", "a lead pipe", "pipe");
        var request = V2RerankRequest.builder().model("any").query("lead pipe").documents(documents).build();
        var client = Cohere.builder().token("any").url(arguments[0]).clientName("slimrank").build();
        System.out.println(client.v2().rerank(request).getResults().stream().map(result -> result.getIndex()).toList());
        System.exit(0);
    }
}
