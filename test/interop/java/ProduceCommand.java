import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A plain, idempotent or transactional producer. */
final class ProduceCommand {
  /** Producers with a transaction that was left open. They are closed by `abandon`, once their broker is gone. */
  private static final List<KafkaProducer<byte[], byte[]>> OPEN = new ArrayList<>();

  private ProduceCommand() {}

  /**
   * {"topic","partition","config":{…},"batch":N,"end":"commit"|"abort"|"open"|null,
   *  "records":[{"key","value","headers","timestamp"},…]}
   *
   * Sends the records in order and waits after each N of them, so that no batch is larger than that. With "end" they
   * are one transaction, which is ended so or left open. For each record that was acknowledged as it becomes known,
   * the line {"index","offset"}; at the end how many were, and the first problem if there was one.
   */
  static JsonNode produce(JsonNode command) throws InterruptedException {
    JsonNode end = command.get("end");
    boolean transactional = end != null && !end.isNull();
    boolean keepOpen = transactional && end.asText().equals("open");
    KafkaProducer<byte[], byte[]> producer = producer(command);
    Duration patience = Duration.ofSeconds(20);
    try {
      if (transactional) {
        producer.initTransactions();
        producer.beginTransaction();
      }
      ObjectNode outcome = send(producer, command);
      boolean whole = !outcome.has("problem");
      if (transactional && whole && end.asText().equals("commit")) producer.commitTransaction();
      if (transactional && whole && end.asText().equals("abort")) producer.abortTransaction();
      if (!whole) patience = Duration.ZERO;
      return outcome;
    } finally {
      if (keepOpen) OPEN.add(producer);
      else producer.close(patience);
    }
  }

  /** Forgets the producers whose transactions were left open, without ending these. */
  static JsonNode abandon() {
    for (KafkaProducer<byte[], byte[]> producer : OPEN) producer.close(Duration.ZERO);
    OPEN.clear();
    return Agent.JSON.createObjectNode();
  }

  private static ObjectNode send(KafkaProducer<byte[], byte[]> producer, JsonNode command) throws InterruptedException {
    String topic = command.get("topic").asText();
    int partition = command.get("partition").asInt();
    int batch = command.get("batch").asInt();
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    ObjectNode outcome = Agent.JSON.createObjectNode();
    int acknowledged = 0;
    JsonNode records = command.get("records");
    for (int index = 0; index < records.size() && !outcome.has("problem"); index += 1) {
      sent.add(producer.send(record(topic, partition, records.get(index))));
      if (sent.size() < batch && index < records.size() - 1) continue;
      producer.flush();
      for (int at = 0; at < sent.size(); at += 1) {
        try {
          long offset = sent.get(at).get().offset();
          Agent.print(Agent.JSON.createObjectNode().put("index", index + 1 - sent.size() + at).put("offset", offset));
          acknowledged += 1;
        } catch (ExecutionException problem) {
          if (!outcome.has("problem")) outcome.put("problem", String.valueOf(problem.getCause()));
        }
      }
      sent.clear();
    }
    return outcome.put("acknowledged", acknowledged);
  }

  private static ProducerRecord<byte[], byte[]> record(String topic, int partition, JsonNode spec) {
    ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
        topic, partition, spec.get("timestamp").asLong(), bytes(spec.get("key")), bytes(spec.get("value")));
    for (JsonNode header : (ArrayNode) spec.get("headers")) record.headers().add(header.get(0).asText(), bytes(header.get(1)));
    return record;
  }

  private static byte[] bytes(JsonNode hex) {
    return hex.isNull() ? null : HexFormat.of().parseHex(hex.asText());
  }

  private static KafkaProducer<byte[], byte[]> producer(JsonNode command) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", command.get("bootstrap").asText());
    properties.put("acks", "all");
    // Long enough that what is sent between two flushes goes out together.
    properties.put("linger.ms", "50");
    properties.put("batch.size", "1048576");
    command.get("config").properties().forEach(entry -> properties.put(entry.getKey(), entry.getValue().asText()));
    return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
  }
}
