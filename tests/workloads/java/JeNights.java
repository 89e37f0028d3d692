import com.sleepycat.je.Cursor;
import com.sleepycat.je.CheckpointConfig;
import com.sleepycat.je.Database;
import com.sleepycat.je.DatabaseConfig;
import com.sleepycat.je.DatabaseEntry;
import com.sleepycat.je.DatabaseException;
import com.sleepycat.je.Environment;
import com.sleepycat.je.EnvironmentConfig;
import com.sleepycat.je.LockMode;
import com.sleepycat.je.OperationStatus;
import com.sleepycat.je.Transaction;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.IntSupplier;

/**
 * Makes and changes a Berkeley DB JE environment: two databases, one with duplicate keys, and a third that
 * numbers the commits of live writers. Records depend on the arguments only.
 *
 * <pre>
 * create DIR RECORDS SEED      day DIR DAY SEED      night DIR NIGHT SEED
 * count DIR read-only|writable prints records=, checksum= and acknowledged=
 * live DIR SEED                commits until its input ends; prints committed=N once N is on disk
 * </pre>
 */
public final class JeNights {
    /** The smallest that JE allows, so that small environments have many files for the cleaner to work on. */
    private static final String LOG_FILE_BYTES = "1000000";
    /** More than JE's own 50, so that files disappear after a few days and not after weeks. */
    private static final String CLEANED_BELOW_PERCENT = "80";
    private static final int BATCH = 100;
    private static final String[] STATES = {"active", "archived", "blocked", "deleted", "pending"};

    private final Environment environment;
    private final Database records;
    private final Database states;
    private final Database commits;

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[1]);
        JeNights nights = new JeNights(folder, arguments.length > 2 && arguments[2].equals("read-only"));
        switch (arguments[0]) {
            case "create" -> nights.fill(0, Integer.parseInt(arguments[2]), Long.parseLong(arguments[3]));
            case "day" -> nights.day(Integer.parseInt(arguments[2]), Long.parseLong(arguments[3]));
            case "night" -> nights.night(Integer.parseInt(arguments[2]), Long.parseLong(arguments[3]));
            case "count" -> nights.count();
            case "live" -> nights.live(Long.parseLong(arguments[2]));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        nights.close(arguments[0].equals("count"));
    }

    private JeNights(File folder, boolean readOnly) throws DatabaseException {
        EnvironmentConfig config = new EnvironmentConfig();
        config.setAllowCreate(!readOnly);
        config.setReadOnly(readOnly);
        config.setTransactional(true);
        config.setConfigParam("je.log.fileMax", LOG_FILE_BYTES);
        config.setConfigParam("je.cleaner.minUtilization", CLEANED_BELOW_PERCENT);
        environment = new Environment(folder, config);
        records = open("records", readOnly, false);
        states = open("states", readOnly, true);
        commits = open("commits", readOnly, false);
    }

    private Database open(String name, boolean readOnly, boolean duplicates) throws DatabaseException {
        DatabaseConfig config = new DatabaseConfig();
        config.setAllowCreate(!readOnly);
        config.setReadOnly(readOnly);
        config.setTransactional(true);
        config.setSortedDuplicates(duplicates);
        return environment.openDatabase(null, name, config);
    }

    /** A clean close: a checkpoint, files that hold little removed, another checkpoint that lets them go. */
    private void close(boolean reading) throws DatabaseException {
        records.close();
        states.close();
        commits.close();
        if (!reading) {
            CheckpointConfig force = new CheckpointConfig();
            force.setForce(true);
            environment.checkpoint(force);
            while (environment.cleanLog() > 0) {
                environment.checkpoint(force);
            }
        }
        environment.close();
    }

    private void fill(int first, int count, long seed) throws DatabaseException {
        for (int number = first; number < first + count; number += BATCH) {
            Transaction transaction = environment.beginTransaction(null, null);
            for (int one = number; one < Math.min(number + BATCH, first + count); one++) {
                put(transaction, one, new Random(seed * 1_000_003 + one));
            }
            transaction.commit();
        }
    }

    /** Updates 5 % of the records, deletes 1.5 %, adds 2 % and begins a change that is taken back. */
    private void day(int day, long seed) throws DatabaseException {
        Random random = new Random(seed * 31 + day);
        int next = nextNumber();
        update(next / 20, () -> random.nextInt(next), seed + day);
        for (int change = 0; change < next * 3 / 200; change++) {
            int number = random.nextInt(next);
            inTransaction(transaction -> delete(transaction, number));
        }
        fill(next, next / 50, seed + day);
        Transaction undone = environment.beginTransaction(null, null);
        put(undone, 0, random);
        undone.abort();
    }

    /** Updates 0.5 % of the records, all of them of the newest hundredth, and adds as many: 1 % of the log is new then. */
    private void night(int night, long seed) throws DatabaseException {
        Random random = new Random(seed * 31 + night);
        int next = nextNumber();
        update(next / 200, () -> next - 1 - random.nextInt(next / 100 + 1), seed + night);
        fill(next, next / 200, seed + night);
    }

    private void update(int count, IntSupplier numbers, long seed) throws DatabaseException {
        for (int change = 0; change < count; change++) {
            int number = numbers.getAsInt();
            inTransaction(transaction -> put(transaction, number, new Random(seed + number * 77L)));
        }
    }

    private interface Change {
        void apply(Transaction transaction) throws DatabaseException;
    }

    private void inTransaction(Change change) throws DatabaseException {
        Transaction transaction = environment.beginTransaction(null, null);
        change.apply(transaction);
        transaction.commitNoSync();
    }

    private void put(Transaction transaction, int number, Random random) throws DatabaseException {
        delete(transaction, number);
        String state = STATES[random.nextInt(STATES.length)];
        records.put(transaction, key(number), new DatabaseEntry(value(number, state, random)));
        states.put(transaction, new DatabaseEntry(bytes(state)), key(number));
    }

    /** Removes a record and the entry that finds it by its state. */
    private void delete(Transaction transaction, int number) throws DatabaseException {
        DatabaseEntry value = new DatabaseEntry();
        if (records.get(transaction, key(number), value, LockMode.RMW) != OperationStatus.SUCCESS) {
            return;
        }
        records.delete(transaction, key(number));
        String text = new String(value.getData(), StandardCharsets.UTF_8);
        DatabaseEntry state = new DatabaseEntry(bytes(text.substring(0, text.indexOf(' '))));
        try (CursorScope scope = new CursorScope(states, transaction)) {
            if (scope.cursor.getSearchBoth(state, key(number), LockMode.RMW) == OperationStatus.SUCCESS) {
                scope.cursor.delete();
            }
        }
    }

    /** A cursor that closes by itself; this version's own does not. */
    private static final class CursorScope implements AutoCloseable {
        private final Cursor cursor;

        private CursorScope(Database database, Transaction transaction) throws DatabaseException {
            cursor = database.openCursor(transaction, null);
        }

        @Override
        public void close() throws DatabaseException {
            cursor.close();
        }
    }

    private int nextNumber() throws DatabaseException {
        DatabaseEntry key = new DatabaseEntry();
        try (CursorScope scope = new CursorScope(records, null)) {
            OperationStatus found = scope.cursor.getLast(key, new DatabaseEntry(), LockMode.DEFAULT);
            return found == OperationStatus.SUCCESS ? Integer.parseInt(text(key).substring(1)) + 1 : 0;
        }
    }

    private void count() throws DatabaseException {
        long count = 0;
        long checksum = 0;
        for (Database database : new Database[] {records, states}) {
            try (CursorScope scope = new CursorScope(database, null)) {
                DatabaseEntry key = new DatabaseEntry();
                DatabaseEntry value = new DatabaseEntry();
                while (scope.cursor.getNext(key, value, LockMode.DEFAULT) == OperationStatus.SUCCESS) {
                    count++;
                    checksum += hash(database == records ? 1 : 2, key.getData(), value.getData());
                }
            }
        }
        System.out.println("records=" + count + " checksum=" + Long.toUnsignedString(checksum)
                + " acknowledged=" + acknowledged());
    }

    /** How many numbered commits there are; a gap would be a commit lost among later ones. */
    private long acknowledged() throws DatabaseException {
        long last = 0;
        try (CursorScope scope = new CursorScope(commits, null)) {
            DatabaseEntry key = new DatabaseEntry();
            DatabaseEntry value = new DatabaseEntry();
            while (scope.cursor.getNext(key, value, LockMode.DEFAULT) == OperationStatus.SUCCESS) {
                long number = ByteBuffer.wrap(key.getData()).getLong();
                if (number != last + 1) {
                    throw new IllegalStateException("commit " + number + " follows commit " + last);
                }
                last = number;
            }
        }
        return last;
    }

    /** Commits small transactions, each with its number, until the input ends. */
    private void live(long seed) throws DatabaseException {
        AtomicBoolean stopped = stopAtEndOfInput();
        Random random = new Random(seed);
        int next = Math.max(nextNumber(), 1);
        long number = acknowledged();
        do {
            number++;
            Transaction transaction = environment.beginTransaction(null, null);
            for (int change = 0; change < 10; change++) {
                put(transaction, random.nextInt(next), random);
            }
            byte[] key = ByteBuffer.allocate(8).putLong(number).array();
            commits.put(transaction, new DatabaseEntry(key), new DatabaseEntry(key));
            transaction.commitSync();
            System.out.println("committed=" + number);
        } while (!stopped.get());
    }

    private static AtomicBoolean stopAtEndOfInput() {
        AtomicBoolean stopped = new AtomicBoolean();
        Thread watcher = new Thread(() -> {
            try {
                System.in.transferTo(java.io.OutputStream.nullOutputStream());
            } catch (IOException closed) {
                // The end of the input as well.
            }
            stopped.set(true);
        });
        watcher.setDaemon(true);
        watcher.start();
        return stopped;
    }

    private static DatabaseEntry key(int number) {
        return new DatabaseEntry(bytes(String.format("k%09d", number)));
    }

    /** The state, the number, and 50 to 1,000 bytes of which half repeat. */
    private static byte[] value(int number, String state, Random random) {
        StringBuilder text = new StringBuilder(state + " " + number);
        int length = 50 + random.nextInt(950);
        while (text.length() < length) {
            text.append(random.nextBoolean() ? " the same words again" : Long.toHexString(random.nextLong()));
        }
        return bytes(text.toString());
    }

    private static long hash(long start, byte[]... parts) {
        long hash = start * 0x9e3779b97f4a7c15L;
        for (byte[] part : parts) {
            hash = (hash ^ part.length) * 0x100000001b3L;
            for (byte one : part) {
                hash = (hash ^ (one & 0xff)) * 0x100000001b3L;
            }
        }
        return hash ^ hash >>> 29;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(DatabaseEntry entry) {
        return new String(entry.getData(), StandardCharsets.UTF_8);
    }
}
