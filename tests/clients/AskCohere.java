import java.util.List;

import com.cohere.api.Cohere;
import com.cohere.api.resources.v2.requests.V2RerankRequest;

/** Ask a gateway through Cohere's Java client: java -cp ... AskCohere.java URL TOO_LATE. */
public final class AskCohere {
    public static void main(String[] arguments) {
        System.out.println(ask(arguments[0]));
        try {
            ask(arguments[1]);
        } catch (RuntimeException expected) {
            System.exit(0);
        }
    }

    private static List<Integer> ask(String url) {
        var documents = List.of("gold ring", "a lead pipe", "pipe");
        var request = V2RerankRequest.builder().model("any").query("lead pipe").documents(documents).build();
        var client = Cohere.builder().token("any").url(url).clientName("slimrank").build();
        return client.v2().rerank(request).getResults().stream().map(result -> result.getIndex()).toList();
    }
}
