import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * Kafka's own clients and tools, driven over standard input: one JSON command a line; the answer is any number of
 * lines, the last of which is {"done":…} or {"error":…}. One process for many commands, because a JVM costs more to
 * start than most of them take. It ends when its input does.
 */
public final class Agent {
  static final ObjectMapper JSON = new ObjectMapper();
  private static final PrintStream OUT = System.out;

  private Agent() {}

  public static void main(String[] args) throws Exception {
    // What the tools print goes where DumpCommand sends it, never between our answers.
    System.setOut(System.err);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      ObjectNode answer = JSON.createObjectNode();
      try {
        answer.set("done", run(JSON.readTree(line)));
      } catch (Throwable problem) {
        answer.removeAll();
        answer.put("error", problem.toString());
        problem.printStackTrace();
      }
      print(answer);
    }
    System.exit(0);
  }

  private static JsonNode run(JsonNode command) throws Exception {
    switch (command.get("op").asText()) {
      case "create-topic": return AdminCommands.createTopic(command);
      case "delete-records": return AdminCommands.deleteRecords(command);
      case "list-offsets": return AdminCommands.listOffsets(command);
      case "end-offsets": return ConsumeCommand.endOffsets(command);
      case "consume": return ConsumeCommand.consume(command);
      case "produce": return ProduceCommand.produce(command);
      case "abandon": return ProduceCommand.abandon();
      case "dump": return DumpCommand.dump(command);
      default: throw new IllegalArgumentException("unknown command " + command);
    }
  }

  static void print(JsonNode line) {
    byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
    OUT.write(bytes, 0, bytes.length);
    OUT.flush();
  }
}
