import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.zip.CRC32;

/**
 * Writes to an H2 database as hard as a capture should be tried, and checks what came of it.
 *
 * <pre>
 * create DIR ROWS SEED OPTIONS  makes DIR/db/Server
 * load DIR SEED RATE OPTIONS    commits until its input ends; prints "commit THREAD NUMBER MILLIS" behind each
 * check DIR                     for each line "check FOLDER", "reopen FOLDER" or "digest FOLDER" of its input one line
 *                               about FOLDER/Server
 * </pre>
 */
public final class H2Load {
    private static final String JPOM = ";CACHE_SIZE=51200;MODE=MYSQL;LOCK_TIMEOUT=10000";
    private static final int THREADS = 4;
    private static final int ACCOUNTS = 200;
    private static final int BALANCE = 1000;
    /** What a reopened copy is written to for, each time. */
    private static final int REOPENED_MILLIS = 2500;
    /** What is damaged may keep H2 busy for ever. */
    private static final int DIGEST_MOST_MILLIS = 30_000;

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[1]).getAbsoluteFile();
        String database = new File(folder, "db/Server").getPath();
        switch (arguments[0]) {
            case "create" -> create(database, Integer.parseInt(arguments[2]), Long.parseLong(arguments[3]),
                    arguments[4]);
            case "load" -> load(database, Long.parseLong(arguments[2]), Integer.parseInt(arguments[3]),
                    arguments[4]);
            case "check" -> check();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static Connection connect(String database, String options) throws SQLException {
        String password = options.contains("CIPHER") ? "secret jpom" : "jpom";
        return DriverManager.getConnection("jdbc:h2:" + database + JPOM + options, "jpom", password);
    }

    private static void create(String database, int rows, long seed, String options) throws SQLException {
        try (Connection connection = connect(database, options); Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE ACCOUNT (ID INT PRIMARY KEY, BALANCE BIGINT)");
            statement.execute("CREATE TABLE SEQ (THREAD INT, N BIGINT, MILLIS BIGINT, PRIMARY KEY (THREAD, N))");
            statement.execute("CREATE TABLE HEAD (THREAD INT PRIMARY KEY, N BIGINT)");
            statement.execute("CREATE TABLE DOC (ID INT PRIMARY KEY, CRC BIGINT, BODY BLOB)");
            statement.execute("CREATE TABLE NOISE (ID BIGINT AUTO_INCREMENT PRIMARY KEY, MILLIS BIGINT, NAME VARCHAR,"
                    + " TEXT CLOB)");
            statement.execute("CREATE INDEX NOISE_MILLIS ON NOISE (MILLIS)");
            for (int id = 0; id < ACCOUNTS; id++) {
                statement.execute("INSERT INTO ACCOUNT VALUES (" + id + ", " + BALANCE + ")");
            }
            for (int thread = 0; thread < THREADS; thread++) {
                statement.execute("INSERT INTO HEAD VALUES (" + thread + ", 0)");
            }
            Random random = new Random(seed);
            connection.setAutoCommit(false);
            for (int row = 0; row < rows; row++) {
                noise(connection, random, row);
                if (row % 1000 == 999) {
                    connection.commit();
                }
            }
            connection.commit();
        }
    }

    private static void load(String database, long seed, int rate, String options) throws Exception {
        AtomicBoolean stopped = new AtomicBoolean();
        try (Connection keeper = connect(database, ";IFEXISTS=TRUE" + options)) {
            Thread[] threads = new Thread[THREADS];
            for (int number = 0; number < THREADS; number++) {
                int thread = number;
                threads[number] = new Thread(() -> {
                    try (Connection connection = connect(database, ";IFEXISTS=TRUE" + options)) {
                        write(connection, thread, seed, rate, stopped, Long.MAX_VALUE);
                    } catch (Exception failed) {
                        failed.printStackTrace();
                        Runtime.getRuntime().halt(1);
                    }
                });
                threads[number].start();
            }
            System.in.transferTo(java.io.OutputStream.nullOutputStream());
            stopped.set(true);
            for (Thread thread : threads) {
                thread.join();
            }
            keeper.createStatement().execute("CHECKPOINT");
        }
    }

    /** Commits at its share of the rate. */
    private static void write(Connection connection, int thread, long seed, int rate, AtomicBoolean stopped, long until)
            throws Exception {
        connection.setAutoCommit(false);
        Random random = new Random(seed * 31 + thread);
        long number = single(connection, "SELECT N FROM HEAD WHERE THREAD = " + thread);
        long pause = rate > 0 ? 1_000_000_000L * THREADS / rate : 0;
        long due = System.nanoTime();
        while (!stopped.get() && System.currentTimeMillis() < until) {
            number++;
            transaction(connection, random, thread, number);
            long now = System.currentTimeMillis();
            System.out.println("commit " + thread + " " + number + " " + now);
            due = Math.max(due + pause, System.nanoTime() - 1_000_000_000L);
            long left = due - System.nanoTime();
            if (left > 0) {
                Thread.sleep(left / 1_000_000L, (int) (left % 1_000_000L));
            }
        }
    }

    private static void transaction(Connection connection, Random random, int thread, long number) throws Exception {
        while (true) {
            try {
                int from = random.nextInt(ACCOUNTS);
                int to = random.nextInt(ACCOUNTS);
                int amount = random.nextInt(50);
                // In the order of their numbers, so that no two transactions wait for each other.
                transfer(connection, Math.min(from, to), from == Math.min(from, to) ? -amount : amount);
                transfer(connection, Math.max(from, to), from == Math.min(from, to) ? amount : -amount);
                run(connection, "INSERT INTO SEQ VALUES (" + thread + ", " + number + ", " + System.currentTimeMillis() + ")");
                run(connection, "UPDATE HEAD SET N = " + number + " WHERE THREAD = " + thread);
                noise(connection, random, System.currentTimeMillis());
                if (random.nextInt(20) == 0) {
                    document(connection, random, thread * 100 + random.nextInt(60));
                }
                if (random.nextInt(40) == 0) {
                    run(connection, "UPDATE NOISE SET NAME = 'changed " + number + "' WHERE ID IN (SELECT ID FROM NOISE WHERE"
                            + " MOD(ID, " + THREADS + ") = " + thread + " ORDER BY ID DESC LIMIT 20)");
                }
                connection.commit();
                break;
            } catch (SQLException conflict) {
                connection.rollback();
            }
        }
        if (thread == 0 && number % 150 == 0) {
            run(connection, "DELETE FROM NOISE WHERE ID IN (SELECT ID FROM NOISE ORDER BY ID LIMIT 800)");
            connection.commit();
        }
    }

    private static void transfer(Connection connection, int account, int amount) throws SQLException {
        run(connection, "UPDATE ACCOUNT SET BALANCE = BALANCE + " + amount + " WHERE ID = " + account);
    }

    private static void noise(Connection connection, Random random, long millis) throws SQLException {
        StringBuilder text = new StringBuilder();
        int words = random.nextInt(60) == 0 ? 900 : 10 + random.nextInt(30);
        for (int word = 0; word < words; word++) {
            text.append(Integer.toString(random.nextInt(60_000), 36)).append(' ');
        }
        String sql = "INSERT INTO NOISE (MILLIS, NAME, TEXT) VALUES (?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setLong(1, millis);
            statement.setString(2, "名称 " + random.nextInt(1000));
            statement.setString(3, text.toString());
            statement.executeUpdate();
        }
    }

    private static void document(Connection connection, Random random, int id) throws SQLException {
        byte[] body = new byte[2000 + random.nextInt(60_000)];
        random.nextBytes(body);
        CRC32 crc = new CRC32();
        crc.update(body);
        try (PreparedStatement statement = connection.prepareStatement("MERGE INTO DOC KEY (ID) VALUES (?, ?, ?)")) {
            statement.setInt(1, id);
            statement.setLong(2, crc.getValue());
            statement.setBytes(3, body);
            statement.executeUpdate();
        }
    }

    /** Answers questions about copies, one a line. */
    private static void check() throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        String question;
        while ((question = questions.readLine()) != null) {
            String[] words = question.split(" ", 2);
            String database = new File(words[1], "Server").getPath();
            String answer;
            try {
                answer = switch (words[0]) {
                    case "reopen" -> reopened(database);
                    case "digest" -> inTime(() -> digest(database));
                    default -> contents(database);
                };
            } catch (Throwable failed) {
                answer = "failed " + failed.toString().replace('\n', ' ');
            }
            System.out.println(answer);
            System.out.flush();
        }
    }

    /** What comes of it, or that it takes too long; then it goes on to no purpose until this process ends. */
    private static String inTime(Callable<String> work) throws Exception {
        FutureTask<String> task = new FutureTask<>(work);
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        thread.start();
        try {
            return task.get(DIGEST_MOST_MILLIS, TimeUnit.MILLISECONDS);
        } catch (TimeoutException late) {
            return "failed it takes too long";
        }
    }

    /** A checksum over every column of every row. */
    private static String digest(String database) throws Exception {
        CRC32 crc = new CRC32();
        try (Connection connection = connect(database, ";IFEXISTS=TRUE"); Statement statement = connection.createStatement()) {
            for (String table : new String[] {"ACCOUNT", "SEQ", "HEAD", "DOC", "NOISE"}) {
                try (ResultSet rows = statement.executeQuery("SELECT * FROM " + table + " ORDER BY 1, 2")) {
                    int columns = rows.getMetaData().getColumnCount();
                    while (rows.next()) {
                        for (int column = 1; column <= columns; column++) {
                            boolean isBody = table.equals("DOC") && column == columns;
                            crc.update(isBody ? rows.getBytes(column) : rows.getString(column).getBytes("UTF-8"));
                        }
                    }
                }
            }
        }
        return "opened digest=" + crc.getValue();
    }

    private static String contents(String database) throws Exception {
        try (Connection connection = connect(database, ";IFEXISTS=TRUE")) {
            return contents(connection);
        }
    }

    /** Opens a copy, writes to it and closes it, rewriting chunks for as long as it takes, twice; then looks at it. */
    private static String reopened(String database) throws Exception {
        for (int round = 0; round < 2; round++) {
            try (Connection connection = connect(database, ";IFEXISTS=TRUE;MAX_COMPACT_TIME=2000")) {
                java.io.PrintStream out = System.out;
                System.setOut(new java.io.PrintStream(java.io.OutputStream.nullOutputStream()));
                try {
                    write(connection, 0, 7 + round, 0, new AtomicBoolean(), System.currentTimeMillis() + REOPENED_MILLIS);
                } finally {
                    System.setOut(out);
                }
            }
        }
        return contents(database);
    }

    private static String contents(Connection connection) throws Exception {
        StringBuilder answer = new StringBuilder("opened");
        long sum = single(connection, "SELECT SUM(BALANCE) FROM ACCOUNT");
        long accounts = single(connection, "SELECT COUNT(*) FROM ACCOUNT");
        answer.append(" sum=").append(sum - (long) ACCOUNTS * BALANCE).append(" accounts=").append(accounts - ACCOUNTS);
        long gaps = 0;
        for (int thread = 0; thread < THREADS; thread++) {
            String of = " WHERE THREAD = " + thread;
            long head = single(connection, "SELECT N FROM HEAD" + of);
            long count = single(connection, "SELECT COUNT(*) FROM SEQ" + of);
            long last = single(connection, "SELECT COALESCE(MAX(N), 0) FROM SEQ" + of);
            gaps += count == last && last == head ? 0 : 1;
            answer.append(" head").append(thread).append("=").append(Math.min(head, last));
        }
        return answer.append(" gaps=").append(gaps).append(" crc=").append(broken(connection)).append(rows(connection)).toString();
    }

    /** Documents whose bytes are not what was stored. */
    private static long broken(Connection connection) throws Exception {
        long broken = 0;
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("SELECT CRC, BODY FROM DOC")) {
            while (rows.next()) {
                CRC32 crc = new CRC32();
                crc.update(rows.getBytes(2));
                broken += crc.getValue() == rows.getLong(1) ? 0 : 1;
            }
        }
        return broken;
    }

    /** Reads every row, also over its index, so that every page is looked at. */
    private static String rows(Connection connection) throws Exception {
        long rows = 0;
        try (Statement statement = connection.createStatement();
                ResultSet noise = statement.executeQuery("SELECT TEXT, NAME FROM NOISE")) {
            while (noise.next()) {
                rows += noise.getString(1).isEmpty() ? 0 : 1;
            }
        }
        long indexed = single(connection, "SELECT COUNT(*) FROM NOISE WHERE MILLIS >= 0");
        return " rows=" + rows + " indexed=" + (indexed - rows);
    }

    private static long single(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getLong(1);
        }
    }

    private static void run(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }
}
