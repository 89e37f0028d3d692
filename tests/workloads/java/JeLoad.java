import com.sleepycat.je.Cursor;
import com.sleepycat.je.CheckpointConfig;
import com.sleepycat.je.Database;
import com.sleepycat.je.DatabaseConfig;
import com.sleepycat.je.DatabaseEntry;
import com.sleepycat.je.DatabaseException;
import com.sleepycat.je.DeadlockException;
import com.sleepycat.je.Environment;
import com.sleepycat.je.EnvironmentConfig;
import com.sleepycat.je.LockMode;
import com.sleepycat.je.OperationStatus;
import com.sleepycat.je.Transaction;
import java.io.BufferedReader;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A Berkeley DB JE environment under load, and the look at what came back of it.
 *
 * <p>Several threads move amounts between accounts, so that the sum of all accounts never changes. Each commit takes
 * the next number of one sequence, whose record it holds locked until it has committed: numbers ascend in the log as
 * they do in time. A history of the last commits is kept and its tail deleted, the log files are the smallest that JE
 * allows and the cleaner is eager, so files come and go all the time.
 *
 * <pre>
 * load DIR ACKS THREADS PAUSE_MS SEED
 *     commits until the input ends, then closes cleanly. Appends a line "NUMBER BEFORE_MS AFTER_MS" to ACKS when a
 *     commit has been acknowledged. Prints "ready", and an answer to each line of input:
 *     "checkpoint" -> "checkpointed", "pause" -> "paused", "resume" -> "resumed",
 *     "backup LAST LIMIT_MS PROGRAM [ARGUMENT...]" (separated by tabs) -> "stored=LAST" or "failed=WHY"
 * check DIR
 *     opens it as its application would, and prints sum=, expected=, last=, time= and history=
 * </pre>
 */
public final class JeLoad {
    private static final int ACCOUNTS = 200;
    private static final long OPENING = 1000;
    private static final int HISTORY = 1500;
    private static final DatabaseEntry LAST = new DatabaseEntry(new byte[] {0});

    private final Environment environment;
    private final Database accounts;
    private final Database sequence;
    private final Database history;
    private final AtomicBoolean stopped = new AtomicBoolean();
    private final AtomicBoolean paused = new AtomicBoolean();
    private FileOutputStream acknowledged;
    private volatile Throwable failure;

    public static void main(String[] arguments) throws Exception {
        JeLoad load = new JeLoad(new File(arguments[1]));
        switch (arguments[0]) {
            case "load" -> load.run(arguments);
            case "check" -> load.check();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        load.close();
    }

    private JeLoad(File folder) throws DatabaseException {
        EnvironmentConfig config = new EnvironmentConfig();
        config.setAllowCreate(true);
        config.setTransactional(true);
        config.setLockTimeout(30_000_000);
        config.setConfigParam("je.log.fileMax", "1000000");
        config.setConfigParam("je.cleaner.minUtilization", "85");
        config.setConfigParam("je.cleaner.bytesInterval", "300000");
        config.setConfigParam("je.checkpointer.bytesInterval", "500000");
        environment = new Environment(folder, config);
        accounts = open("accounts");
        sequence = open("sequence");
        history = open("history");
    }

    private Database open(String name) throws DatabaseException {
        DatabaseConfig config = new DatabaseConfig();
        config.setAllowCreate(true);
        config.setTransactional(true);
        return environment.openDatabase(null, name, config);
    }

    private void close() throws DatabaseException {
        accounts.close();
        sequence.close();
        history.close();
        environment.close();
    }

    private void run(String[] arguments) throws Exception {
        acknowledged = new FileOutputStream(arguments[2], true);
        int pause = Integer.parseInt(arguments[4]);
        long seed = Long.parseLong(arguments[5]);
        fill();
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < Integer.parseInt(arguments[3]); number++) {
            Random random = new Random(seed + number);
            threads.add(new Thread(() -> transfers(random, pause)));
        }
        threads.forEach(Thread::start);
        System.out.println("ready");
        obey(new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)));
        stopped.set(true);
        for (Thread thread : threads) {
            thread.join();
        }
        if (failure != null) {
            throw new IllegalStateException("a writer failed", failure);
        }
    }

    /** Answers what is asked until nobody asks any more. */
    private void obey(BufferedReader input) throws Exception {
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split("\t");
            switch (words[0]) {
                case "checkpoint" -> {
                    CheckpointConfig force = new CheckpointConfig();
                    force.setForce(true);
                    environment.checkpoint(force);
                    System.out.println("checkpointed");
                }
                case "pause" -> {
                    paused.set(true);
                    Thread.sleep(200);
                    System.out.println("paused");
                }
                case "resume" -> {
                    paused.set(false);
                    System.out.println("resumed");
                }
                case "backup" -> System.out.println(backup(List.of(words).subList(1, words.length)));
                default -> throw new IllegalArgumentException(line);
            }
        }
    }

    /** Runs the class that applications drop in. The first word is the number of the last file, then the limit. */
    private String backup(List<String> words) {
        List<String> command = words.subList(2, words.size());
        try {
            TreeringBackup backup = new TreeringBackup(environment, command, Long.parseLong(words.get(0)));
            return "stored=" + backup.limit(Long.parseLong(words.get(1))).run();
        } catch (IOException | DatabaseException failed) {
            return "failed=" + failed.getMessage().replace('\n', ' ');
        }
    }

    private void fill() throws DatabaseException {
        if (sequence.get(null, LAST, new DatabaseEntry(), LockMode.DEFAULT) == OperationStatus.SUCCESS) {
            return;
        }
        Transaction transaction = environment.beginTransaction(null, null);
        for (int account = 0; account < ACCOUNTS; account++) {
            accounts.put(transaction, key(account), account(OPENING, new Random(account)));
        }
        sequence.put(transaction, LAST, pair(0, System.currentTimeMillis()));
        transaction.commitSync();
    }

    private void transfers(Random random, int pause) {
        try {
            while (!stopped.get()) {
                if (!paused.get()) {
                    transfer(random);
                }
                Thread.sleep(pause == 0 ? 0 : 1 + random.nextInt(2 * pause));
            }
        } catch (Throwable error) {
            failure = error;
            stopped.set(true);
        }
    }

    private void transfer(Random random) throws DatabaseException, IOException {
        int from = random.nextInt(ACCOUNTS - 1);
        int to = from + 1 + random.nextInt(ACCOUNTS - 1 - from);
        long amount = random.nextInt(100);
        Transaction transaction = environment.beginTransaction(null, null);
        try {
            add(transaction, from, -amount, random);
            add(transaction, to, amount, random);
            DatabaseEntry last = new DatabaseEntry();
            sequence.get(transaction, LAST, last, LockMode.RMW);
            long number = ByteBuffer.wrap(last.getData()).getLong() + 1;
            long before = System.currentTimeMillis();
            sequence.put(transaction, LAST, pair(number, before));
            history.put(transaction, key(number), account(number, random));
            history.delete(transaction, key(number - HISTORY));
            if (random.nextInt(10) == 0) {
                transaction.commitSync();
            } else {
                transaction.commitWriteNoSync();
            }
            String line = number + " " + before + " " + System.currentTimeMillis() + "\n";
            acknowledged.write(line.getBytes(StandardCharsets.UTF_8));
        } catch (DeadlockException again) {
            transaction.abort();
        }
    }

    /** Changes an account. Accounts are taken in the order of their numbers, so that nobody waits in a circle. */
    private void add(Transaction transaction, int account, long amount, Random random) throws DatabaseException {
        DatabaseEntry value = new DatabaseEntry();
        accounts.get(transaction, key(account), value, LockMode.RMW);
        long balance = ByteBuffer.wrap(value.getData()).getLong() + amount;
        accounts.put(transaction, key(account), account(balance, random));
    }

    private void check() throws DatabaseException {
        long sum = 0;
        long count = 0;
        Cursor cursor = accounts.openCursor(null, null);
        DatabaseEntry key = new DatabaseEntry();
        DatabaseEntry value = new DatabaseEntry();
        while (cursor.getNext(key, value, LockMode.DEFAULT) == OperationStatus.SUCCESS) {
            sum += ByteBuffer.wrap(value.getData()).getLong();
            count++;
        }
        cursor.close();
        DatabaseEntry last = new DatabaseEntry();
        if (sequence.get(null, LAST, last, LockMode.DEFAULT) != OperationStatus.SUCCESS) {
            throw new IllegalStateException("the sequence is gone");
        }
        ByteBuffer pair = ByteBuffer.wrap(last.getData());
        long number = pair.getLong();
        System.out.println("sum=" + sum + " expected=" + count * OPENING + " accounts=" + count + " last=" + number
                + " time=" + pair.getLong() + " history=" + checkHistory(number));
    }

    /** Every number of the history must be there, up to the last. */
    private long checkHistory(long last) throws DatabaseException {
        long first = Math.max(1, last - HISTORY + 1);
        long expected = first;
        Cursor cursor = history.openCursor(null, null);
        DatabaseEntry key = new DatabaseEntry();
        DatabaseEntry value = new DatabaseEntry();
        while (cursor.getNext(key, value, LockMode.DEFAULT) == OperationStatus.SUCCESS) {
            long number = ByteBuffer.wrap(key.getData()).getLong();
            if (number != expected || ByteBuffer.wrap(value.getData()).getLong() != number) {
                throw new IllegalStateException("the history has " + number + " where " + expected + " is expected");
            }
            expected++;
        }
        cursor.close();
        if (expected != last + 1) {
            throw new IllegalStateException("the history ends at " + (expected - 1) + " and the sequence at " + last);
        }
        return expected - first;
    }

    private static DatabaseEntry key(long number) {
        return new DatabaseEntry(ByteBuffer.allocate(8).putLong(number).array());
    }

    private static DatabaseEntry pair(long number, long time) {
        return new DatabaseEntry(ByteBuffer.allocate(16).putLong(number).putLong(time).array());
    }

    /** A number and up to 2,000 bytes of which half repeat. */
    private static DatabaseEntry account(long number, Random random) {
        byte[] bytes = new byte[8 + random.nextInt(2000)];
        random.nextBytes(bytes);
        java.util.Arrays.fill(bytes, 8 + (bytes.length - 8) / 2, bytes.length, (byte) 'x');
        ByteBuffer.wrap(bytes).putLong(number);
        return new DatabaseEntry(bytes);
    }
}
