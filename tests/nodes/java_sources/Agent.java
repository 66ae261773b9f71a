// Stands in for Elasticsearch's entitlement agent, which is not published: hands the Instrumentation to the class whose
// name the server passes. The checks themselves stay the official ones.
import java.lang.instrument.Instrumentation;

public class Agent {
    public static void agentmain(String initializer, Instrumentation instrumentation) throws Exception {
        Class.forName(initializer).getMethod("initialize", Instrumentation.class).invoke(null, instrumentation);
    }
}
