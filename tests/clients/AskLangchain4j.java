import java.util.List;
import java.util.stream.IntStream;

import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.cohere.CohereScoringModel;
import dev.langchain4j.model.jina.JinaScoringModel;
import dev.langchain4j.model.scoring.ScoringModel;
import dev.langchain4j.model.voyageai.VoyageAiScoringModel;

/** Ask a gateway through langchain4j: java -cp ... AskLangchain4j.java URL TOO_LATE. */
public final class AskLangchain4j {
    public static void main(String[] arguments) {
        System.out.println(ask(arguments[0]));
        try {
            ask(arguments[1]);
        } catch (RuntimeException expected) {
            System.exit(0);
        }
    }

    private static List<Integer> ask(String url) {
        List<ScoringModel> models = List.of(
            CohereScoringModel.builder().apiKey("any").modelName("any").baseUrl(url + "/v1/").build(),
            JinaScoringModel.builder().apiKey("any").modelName("any").baseUrl(url + "/").build(),
            VoyageAiScoringModel.builder().apiKey("any").modelName("any").baseUrl(url + "/v1/").truncation(true).build());
        List<List<Integer>> found = models.stream().map(AskLangchain4j::places).distinct().toList();
        if (found.size() > 1) {
            throw new IllegalStateException(found.toString());
        }
        return found.get(0);
    }

    private static List<Integer> places(ScoringModel model) {
        var segments = List.of(TextSegment.from("gold ring"), TextSegment.from("a lead pipe"), TextSegment.from("pipe"));
        List<Double> scores = model.scoreAll(segments, "lead pipe").content();
        return IntStream.range(0, 3).boxed().sorted((a, b) -> Double.compare(scores.get(b), scores.get(a))).toList();
    }
}
