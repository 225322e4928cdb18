import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A plain consumer of one partition. */
final class ConsumeCommand {
  private static final Map<String, KafkaConsumer<byte[], byte[]>> CONSUMERS = new HashMap<>();
  private static String bootstrap = "";

  private ConsumeCommand() {}

  /**
   * {"topic","partition","isolation"}: one line a record, from the first to the end as the isolation level has it,
   * {"offset","leaderEpoch","timestamp","timestampType","key","value","headers"}, bytes in hex; then the log start
   * offset, that end, and the position the consumer came to.
   */
  static JsonNode consume(JsonNode command) {
    TopicPartition partition = AdminCommands.partition(command);
    KafkaConsumer<byte[], byte[]> consumer = consumer(command);
    consumer.assign(List.of(partition));
    long start = consumer.beginningOffsets(List.of(partition)).get(partition);
    long end = consumer.endOffsets(List.of(partition)).get(partition);
    consumer.seek(partition, start);
    long giveUp = System.nanoTime() + Duration.ofSeconds(60).toNanos();
    while (consumer.position(partition) < end) {
      if (System.nanoTime() > giveUp) throw new IllegalStateException("stuck at " + consumer.position(partition));
      for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
        if (record.offset() < end) Agent.print(line(record));
      }
    }
    ObjectNode summary = Agent.JSON.createObjectNode();
    return summary.put("logStartOffset", start).put("end", end).put("position", consumer.position(partition));
  }

  /** {"topic","partition","isolation"}: the log start offset and the end. */
  static JsonNode endOffsets(JsonNode command) {
    TopicPartition partition = AdminCommands.partition(command);
    KafkaConsumer<byte[], byte[]> consumer = consumer(command);
    long start = consumer.beginningOffsets(List.of(partition)).get(partition);
    long end = consumer.endOffsets(List.of(partition)).get(partition);
    return Agent.JSON.createObjectNode().put("logStartOffset", start).put("end", end);
  }

  /** One for each isolation level, until the broker changes: it takes longer to start than to read a partition. */
  @SuppressWarnings("deprecation") // What takes its place came with 4.1.
  private static KafkaConsumer<byte[], byte[]> consumer(JsonNode command) {
    String wanted = command.get("bootstrap").asText();
    if (!wanted.equals(bootstrap)) {
      for (KafkaConsumer<byte[], byte[]> consumer : CONSUMERS.values()) consumer.close(Duration.ZERO);
      CONSUMERS.clear();
      bootstrap = wanted;
    }
    return CONSUMERS.computeIfAbsent(command.get("isolation").asText(), ConsumeCommand::newConsumer);
  }

  private static KafkaConsumer<byte[], byte[]> newConsumer(String isolation) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("isolation.level", isolation);
    properties.put("auto.offset.reset", "none");
    properties.put("enable.auto.commit", "false");
    properties.put("check.crcs", "true");
    // The consumer asks for more as soon as it has everything, and turns elsewhere only when that is answered.
    properties.put("fetch.max.wait.ms", "10");
    return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  private static ObjectNode line(ConsumerRecord<byte[], byte[]> record) {
    ObjectNode line = Agent.JSON.createObjectNode();
    line.put("offset", record.offset());
    line.put("leaderEpoch", record.leaderEpoch().orElse(null));
    line.put("timestamp", record.timestamp());
    line.put("timestampType", record.timestampType().toString());
    line.put("key", hex(record.key()));
    line.put("value", hex(record.value()));
    ArrayNode headers = line.putArray("headers");
    for (Header header : record.headers()) headers.addArray().add(header.key()).add(hex(header.value()));
    return line;
  }

  private static String hex(byte[] bytes) {
    return bytes == null ? null : HexFormat.of().formatHex(bytes);
  }
}
