// Runs the classes of ML Commons that shape the request to a reranker and read its answer, on cases from standard input.
// In: a line with a JSON array of {"op", ...}. Out: a line with a JSON array of {"ok": ...} or {"error": "class: message"}, in
// the same order; then the next line, until the input ends.
//   payload   {connector, query, documents}  the body that the reranker is sent
//   scores    {answer}                       the scores read from a reranker's answer, one a document
//   action    {class}                        the name under which a transport action is permitted
//   validate  {connector, trusted}           parse and validate a connector as POST /_plugins/_ml/connectors/_create does

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.jayway.jsonpath.JsonPath;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.commons.text.StringEscapeUtils;
import org.opensearch.common.xcontent.XContentType;
import org.opensearch.core.xcontent.DeprecationHandler;
import org.opensearch.core.xcontent.NamedXContentRegistry;
import org.opensearch.core.xcontent.XContentParser;
import org.opensearch.ml.common.FunctionName;
import org.opensearch.ml.common.connector.HttpConnector;
import org.opensearch.ml.common.connector.MLPostProcessFunction;
import org.opensearch.ml.common.connector.MLPreProcessFunction;
import org.opensearch.ml.common.dataset.TextSimilarityInputDataSet;
import org.opensearch.ml.common.input.MLInput;
import org.opensearch.ml.common.output.model.ModelTensor;
import org.opensearch.ml.common.transport.connector.MLCreateConnectorInput;
import org.opensearch.ml.common.transport.connector.MLCreateConnectorRequest;
import org.opensearch.ml.common.utils.StringUtils;

public class Harness {
    private static final Gson GSON = new Gson();

    public static void main(String[] args) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.write((answer(GSON.fromJson(line, JsonArray.class)) + "\n").getBytes(StandardCharsets.UTF_8));
            System.out.flush();
        }
    }

    private static String answer(JsonArray cases) {
        JsonArray results = new JsonArray();
        for (JsonElement each : cases) {
            JsonObject result = new JsonObject();
            try {
                result.add("ok", GSON.toJsonTree(run(each.getAsJsonObject())));
            } catch (Exception error) {
                result.addProperty("error", error.getClass().getSimpleName() + ": " + error.getMessage());
            }
            results.add(result);
        }
        return GSON.toJson(results);
    }

    private static Object run(JsonObject input) throws Exception {
        switch (input.get("op").getAsString()) {
            case "payload": return payload(input);
            case "action": return Class.forName(input.get("class").getAsString()).getField("NAME").get(null);
            case "scores": return scores(input.get("answer").getAsString());
            case "validate": return validate(input);
            default: throw new IllegalArgumentException("unknown op");
        }
    }

    private static XContentParser parser(JsonElement body) throws Exception {
        XContentParser parser = XContentType.JSON.xContent()
            .createParser(NamedXContentRegistry.EMPTY, DeprecationHandler.IGNORE_DEPRECATIONS, GSON.toJson(body));
        parser.nextToken();
        return parser;
    }

    private static String payload(JsonObject input) throws Exception {
        HttpConnector connector = new HttpConnector("http", parser(input.get("connector")));
        List<String> documents = new ArrayList<>();
        input.getAsJsonArray("documents").forEach(document -> documents.add(document.getAsString()));
        MLInput ml = MLInput.builder().algorithm(FunctionName.TEXT_SIMILARITY)
            .inputDataset(new TextSimilarityInputDataSet(input.get("query").getAsString(), documents)).build();
        String function = connector.getActions().get(0).getPreProcessFunction();
        Map<String, String> parameters = new HashMap<>(connector.getParameters());
        // What ConnectorUtils.escapeRemoteInferenceInputData does: values that are JSON themselves go in as they are.
        MLPreProcessFunction.get(function).apply(ml).getParameters().forEach((name, value) ->
            parameters.put(name, StringUtils.isJson(value) ? value : StringEscapeUtils.escapeJava(value)));
        String payload = connector.createPayload("predict", parameters);
        connector.validatePayload(payload);
        return payload;
    }

    private static List<Object> scores(String answer) {
        String function = MLPostProcessFunction.COHERE_RERANK;
        Object results = JsonPath.parse(answer).read(MLPostProcessFunction.getResponseFilter(function));
        List<Object> scores = new ArrayList<>();
        for (ModelTensor tensor : MLPostProcessFunction.get(function).apply(results, null)) {
            scores.add(tensor.getData()[0]);
        }
        return scores;
    }

    private static Object validate(JsonObject input) throws Exception {
        MLCreateConnectorInput parsed = MLCreateConnectorInput.parse(parser(input.get("connector")));
        Exception refused = new MLCreateConnectorRequest(parsed).validate();
        if (refused != null) {
            throw refused;
        }
        List<String> trusted = new ArrayList<>();
        input.getAsJsonArray("trusted").forEach(pattern -> trusted.add(pattern.getAsString()));
        new HttpConnector("http", parser(input.get("connector"))).validateConnectorURL(trusted);
        return parsed.getConnectorClientConfig().getReadTimeout();
    }
}
