// Does the part of bin/elasticsearch that is not published: reads the configuration, makes the keystore, and writes the
// arguments that the server expects on its standard input.  StartArguments HOME CONFIG LOGS OUTPUT
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.elasticsearch.bootstrap.ServerArgs;
import org.elasticsearch.common.io.stream.OutputStreamStreamOutput;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.KeyStoreWrapper;
import org.elasticsearch.common.settings.SecureString;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.InternalSettingsPreparer;

public class StartArguments {
    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]), config = Path.of(arguments[1]), logs = Path.of(arguments[2]), output = Path.of(arguments[3]);
        LogConfigurator.configureESLogging();
        Settings base = Settings.builder().put("path.home", home.toString()).build();
        Settings settings = InternalSettingsPreparer.prepareEnvironment(base, Map.of(), config, () -> "test-1").settings();
        try (var keys = KeyStoreWrapper.bootstrap(config, () -> new SecureString(new char[0]));
             var out = new OutputStreamStreamOutput(Files.newOutputStream(output))) {
            new ServerArgs(true, false, null, keys, settings, config, logs).writeTo(out);
        }
    }
}
