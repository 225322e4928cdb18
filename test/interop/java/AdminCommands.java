import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;

/** What an administrator asks of a broker. */
final class AdminCommands {
  private static Admin admin;
  private static String bootstrap = "";

  private AdminCommands() {}

  /** {"topic","partitions","configs":{…}} */
  static JsonNode createTopic(JsonNode command) throws Exception {
    Map<String, String> configs = new HashMap<>();
    command.get("configs").properties().forEach(entry -> configs.put(entry.getKey(), entry.getValue().asText()));
    NewTopic topic = new NewTopic(command.get("topic").asText(), command.get("partitions").asInt(), (short) 1);
    admin(command).createTopics(List.of(topic.configs(configs))).all().get();
    return Agent.JSON.createObjectNode();
  }

  /** {"topic","partition","before"}: answers the new log start offset. */
  static JsonNode deleteRecords(JsonNode command) throws Exception {
    TopicPartition partition = partition(command);
    RecordsToDelete before = RecordsToDelete.beforeOffset(command.get("before").asLong());
    var result = admin(command).deleteRecords(Map.of(partition, before)).lowWatermarks().get(partition).get();
    return Agent.JSON.createObjectNode().put("logStartOffset", result.lowWatermark());
  }

  /**
   * {"topic","partition","isolation","queries":["earliest"|"latest"|"max-timestamp"|MS, …]}: answers, in that order,
   * [query, offset, timestamp], with nulls where there is no such record.
   */
  static JsonNode listOffsets(JsonNode command) throws Exception {
    TopicPartition partition = partition(command);
    ListOffsetsOptions options = new ListOffsetsOptions(isolation(command));
    ArrayNode rows = Agent.JSON.createArrayNode();
    for (JsonNode query : command.get("queries")) {
      ListOffsetsResult.ListOffsetsResultInfo found;
      try {
        found = admin(command).listOffsets(Map.of(partition, spec(query.asText())), options).partitionResult(partition).get();
      } catch (ExecutionException problem) {
        throw new IllegalStateException("ListOffsets of " + query + " failed", problem.getCause());
      }
      ArrayNode row = rows.addArray().add(query);
      if (found.offset() < 0) row.addNull();
      else row.add(found.offset());
      if (found.timestamp() < 0) row.addNull();
      else row.add(found.timestamp());
    }
    return rows;
  }

  private static OffsetSpec spec(String query) {
    switch (query) {
      case "earliest": return OffsetSpec.earliest();
      case "latest": return OffsetSpec.latest();
      case "max-timestamp": return OffsetSpec.maxTimestamp();
      default: return OffsetSpec.forTimestamp(Long.parseLong(query));
    }
  }

  static IsolationLevel isolation(JsonNode command) {
    return command.get("isolation").asText().equals("read_committed")
        ? IsolationLevel.READ_COMMITTED
        : IsolationLevel.READ_UNCOMMITTED;
  }

  static TopicPartition partition(JsonNode command) {
    return new TopicPartition(command.get("topic").asText(), command.get("partition").asInt());
  }

  /** One for each broker, for it takes longer to start than most commands. */
  private static Admin admin(JsonNode command) {
    String wanted = command.get("bootstrap").asText();
    if (!wanted.equals(bootstrap)) {
      if (admin != null) admin.close(Duration.ZERO);
      admin = Admin.create(Map.of("bootstrap.servers", wanted, "default.api.timeout.ms", "30000"));
      bootstrap = wanted;
    }
    return admin;
  }
}
