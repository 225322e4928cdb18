import java.util.Arrays;

/**
 * Runs another program, `Bound CLASS ARGUMENT…`, bound to the life of whoever started it: when standard input ends, it
 * dies at once, so that a test that is itself killed leaves no broker behind.
 */
public final class Bound {
  private Bound() {}

  public static void main(String[] args) throws ReflectiveOperationException {
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
    String[] rest = Arrays.copyOfRange(args, 1, args.length);
    Class.forName(args[0]).getMethod("main", String[].class).invoke(null, (Object) rest);
  }
}
