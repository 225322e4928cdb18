/**
 * Kafka's broker, bound to the life of whoever started it: when standard input ends, it dies at once, so that a
 * test that is itself killed leaves no broker behind.
 */
public final class BoundBroker {
  private BoundBroker() {}

  public static void main(String[] args) {
    Thread watch = new Thread(() -> {
      try {
        while (System.in.read() != -1) {}
      } catch (java.io.IOException broken) {
        // The pipe is gone, which says the same as its end.
      }
      Runtime.getRuntime().halt(97);
    });
    watch.setDaemon(true);
    watch.start();
    kafka.Kafka.main(args);
  }
}
