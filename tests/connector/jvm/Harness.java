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
import org.opensearch.common.settings.Settings;
import org.opensearch.common.xcontent.XContentType;
import org.opensearch.core.xcontent.DeprecationHandler;
import org.opensearch.core.xcontent.NamedXContentRegistry;
import org.opensearch.core.xcontent.XContentParser;
import org.opensearch.ml.common.FunctionName;
import org.opensearch.ml.common.connector.HttpConnector;
import org.opensearch.ml.common.connector.MLPostProcessFunction;
import org.opensearch.ml.common.connector.MLPreProcessFunction;
import org.opensearch.ml.common.connector.functions.preprocess.DefaultPreProcessFunction;
import org.opensearch.ml.common.connector.functions.preprocess.RemoteInferencePreProcessFunction;
import org.opensearch.ml.common.dataset.TextSimilarityInputDataSet;
import org.opensearch.ml.common.dataset.remote.RemoteInferenceInputDataSet;
import org.opensearch.ml.common.input.MLInput;
import org.opensearch.ml.common.output.model.ModelTensor;
import org.opensearch.ml.common.transport.connector.MLCreateConnectorInput;
import org.opensearch.ml.common.transport.connector.MLCreateConnectorRequest;
import org.opensearch.ml.common.utils.StringUtils;
import org.opensearch.painless.PainlessScriptEngine;
import org.opensearch.painless.spi.Allowlist;
import org.opensearch.script.ScriptService;
import org.opensearch.script.TemplateScript;

public class Harness {
    private static final Gson GSON = new Gson();
    private static final ScriptService SCRIPTS = new ScriptService(
        Settings.EMPTY,
        Map.of("painless", new PainlessScriptEngine(Settings.EMPTY, Map.of(TemplateScript.CONTEXT, Allowlist.BASE_ALLOWLISTS))),
        Map.of(TemplateScript.CONTEXT.name, TemplateScript.CONTEXT)
    );

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
        Map<String, String> parameters = new HashMap<>(connector.getParameters());
        String function = connector.getActions().get(0).getPreProcessFunction();
        parameters.putAll(escaped(preProcessed(function, parameters, input.get("query").getAsString(), documents)));
        String payload = connector.createPayload("predict", parameters);
        connector.validatePayload(payload);
        return payload;
    }

    // What ConnectorUtils.processMLInput does, for the rerank processor's input and for that of ml_inference.
    private static Map<String, String> preProcessed(String function, Map<String, String> parameters, String query, List<String> documents) {
        if ("true".equals(parameters.get("pre_process_function.process_remote_inference_input"))) {
            Map<String, String> own = escaped(Map.of("query", query, "documents", GSON.toJson(documents)));
            MLInput ml = MLInput.builder().algorithm(FunctionName.REMOTE).inputDataset(new RemoteInferenceInputDataSet(own)).build();
            return new RemoteInferencePreProcessFunction(SCRIPTS, function, parameters).apply(ml).getParameters();
        }
        boolean isOurs = !MLPreProcessFunction.contains(function);
        TextSimilarityInputDataSet texts = isOurs
            ? new TextSimilarityInputDataSet(StringUtils.processTextDoc(query), StringUtils.processTextDocs(documents))
            : new TextSimilarityInputDataSet(query, documents);
        MLInput ml = MLInput.builder().algorithm(FunctionName.TEXT_SIMILARITY).inputDataset(texts).build();
        return (isOurs ? new DefaultPreProcessFunction(SCRIPTS, function, false) : MLPreProcessFunction.get(function)).apply(ml).getParameters();
    }

    // What ConnectorUtils.escapeRemoteInferenceInputData does: values that are JSON themselves go in as they are.
    private static Map<String, String> escaped(Map<String, String> parameters) {
        Map<String, String> result = new HashMap<>();
        parameters.forEach((name, value) -> result.put(name, StringUtils.isJson(value) ? value : StringEscapeUtils.escapeJava(value)));
        return result;
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
