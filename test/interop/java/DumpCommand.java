import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Kafka's DumpLogSegments, in this process. */
final class DumpCommand {
  private DumpCommand() {}

  /** {"files":[…]}: what the tool printed on standard output and on standard error. */
  static JsonNode dump(JsonNode command) throws Exception {
    List<String> files = new ArrayList<>();
    command.get("files").forEach(file -> files.add(file.asText()));
    String[] arguments = {"--deep-iteration", "--files", String.join(",", files)};
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    PrintStream outBefore = System.out;
    PrintStream errBefore = System.err;
    System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
    try {
      // Scala's println goes to a stream of its own, taken when its Console was first used.
      scala.Console.withOut(System.out, () -> scala.Console.withErr(System.err, () -> call(arguments)));
    } finally {
      System.setOut(outBefore);
      System.setErr(errBefore);
    }
    ObjectNode result = Agent.JSON.createObjectNode();
    return result.put("out", out.toString(StandardCharsets.UTF_8)).put("err", err.toString(StandardCharsets.UTF_8));
  }

  private static Object call(String[] arguments) {
    try {
      tool().getMethod("main", String[].class).invoke(null, (Object) arguments);
    } catch (InvocationTargetException problem) {
      // A file that the tool cannot get through is what it complains about, not a failure of ours.
      problem.getCause().printStackTrace(System.err);
    } catch (ReflectiveOperationException problem) {
      throw new IllegalStateException(problem);
    }
    return null;
  }

  /** It moved with 4.3. */
  private static Class<?> tool() throws ClassNotFoundException {
    try {
      return Class.forName("org.apache.kafka.tools.DumpLogSegments");
    } catch (ClassNotFoundException older) {
      return Class.forName("kafka.tools.DumpLogSegments");
    }
  }
}
