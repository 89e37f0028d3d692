import java.io.File;
import java.io.IOException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Makes and changes an H2 database like that of a Jpom server. Rows depend on the arguments only.
 *
 * <pre>
 * create DIR ROWS SEED         day DIR DAY SEED
 * count DIR read-only|writable prints records=, checksum= and acknowledged=
 * live DIR SEED                commits until its input ends; prints committed=N once N is committed
 * </pre>
 */
public final class H2Nights {
    private static final String[] TABLES = {
        "BUILD_INFO", "BUILDHISTORYLOG", "MACHINE_NODE_STAT_LOG", "MACHINE_SSH_INFO", "USER_INFO", "USEROPERATELOGV1"
    };
    /** Seconds between the rows of monitoring that come even when nobody works. */
    private static final int MONITOR_SECONDS = 30;
    private static final int KEPT_BACKUPS = 5;
    private static final long FIRST_DAY_MILLIS = 1_735_689_600_000L;
    private static final long DAY_MILLIS = 86_400_000L;

    private final Connection connection;
    private final File folder;

    public static void main(String[] arguments) throws Exception {
        File folder = new File(arguments[1], "db").getAbsoluteFile();
        boolean readOnly = arguments.length > 2 && arguments[2].equals("read-only");
        String url = "jdbc:h2:" + folder + "/Server;CACHE_SIZE=51200;MODE=MYSQL;LOCK_TIMEOUT=10000"
                + (arguments[0].equals("create") ? "" : ";IFEXISTS=TRUE")
                + (readOnly ? ";ACCESS_MODE_DATA=r" : "");
        try (Connection connection = DriverManager.getConnection(url, "jpom", "jpom")) {
            H2Nights nights = new H2Nights(connection, folder);
            switch (arguments[0]) {
                case "create" -> nights.create(Integer.parseInt(arguments[2]), Long.parseLong(arguments[3]));
                case "day" -> nights.day(Integer.parseInt(arguments[2]), Long.parseLong(arguments[3]));
                case "count" -> nights.count();
                case "live" -> nights.live(Long.parseLong(arguments[2]));
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        }
    }

    private H2Nights(Connection connection, File folder) {
        this.connection = connection;
        this.folder = folder;
    }

    private void create(int rows, long seed) throws SQLException {
        for (String table : TABLES) {
            run("CREATE TABLE " + table + " (ID VARCHAR(50) PRIMARY KEY, CREATETIMEMILLIS BIGINT, STATUS INTEGER,"
                    + " NAME VARCHAR(255), DETAIL CLOB)");
            run("CREATE INDEX IDX_" + table + " ON " + table + " (CREATETIMEMILLIS)");
        }
        run("CREATE TABLE ACKNOWLEDGED (NUMBER BIGINT PRIMARY KEY)");
        for (String table : TABLES) {
            boolean large = table.contains("LOG");
            insert(table, large ? rows : Math.max(rows / 50, 5), 0, new Random(seed ^ table.hashCode()));
        }
        // Loading leaves several times the size behind, which a database that grew in daily use does not have.
        run("SHUTDOWN COMPACT");
    }

    /** A day of monitoring, builds and edits; the logs lose their oldest rows; then Jpom's own backup. */
    private void day(int day, long seed) throws SQLException {
        Random random = new Random(seed * 31 + day);
        insert("MACHINE_NODE_STAT_LOG", 86_400 / MONITOR_SECONDS, day, random);
        insert("USEROPERATELOGV1", 50 + random.nextInt(200), day, random);
        insert("BUILDHISTORYLOG", 2 + random.nextInt(10), day, random);
        run("DELETE FROM MACHINE_NODE_STAT_LOG WHERE CREATETIMEMILLIS < " + millis(day - 7));
        for (String table : new String[] {"BUILD_INFO", "MACHINE_SSH_INFO", "USER_INFO"}) {
            edit(table, random);
        }
        backUp(day);
    }

    private void insert(String table, int count, int day, Random random) throws SQLException {
        connection.setAutoCommit(false);
        String sql = "INSERT INTO " + table + " VALUES (?, ?, ?, ?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int row = 0; row < count; row++) {
                statement.setString(1, identifier(random));
                statement.setLong(2, millis(day) + random.nextInt((int) DAY_MILLIS));
                statement.setInt(3, random.nextInt(5));
                statement.setString(4, "名称 " + random.nextInt(1000));
                statement.setString(5, detail(random));
                statement.addBatch();
                if (row % 500 == 499) {
                    statement.executeBatch();
                    connection.commit();
                }
            }
            statement.executeBatch();
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    /** Changes the rows whose id ends in one of sixteen digits. */
    private void edit(String table, Random random) throws SQLException {
        String sql = "UPDATE " + table + " SET STATUS = STATUS + 1, DETAIL = ? WHERE ID LIKE ?";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.setString(1, detail(random));
            statement.setString(2, "%" + Integer.toHexString(random.nextInt(16)));
            statement.executeUpdate();
        }
    }

    private void backUp(int day) throws SQLException {
        File backups = new File(folder, "backup");
        LocalDateTime time = LocalDateTime.of(2025, 1, 1, 0, 0).plusDays(day);
        String name = time.format(DateTimeFormatter.ofPattern("yyyyMMddHHmmss")) + ".sql";
        if (!backups.isDirectory() && !backups.mkdirs()) {
            throw new IllegalStateException("cannot create " + backups);
        }
        run("SCRIPT DROP TO '" + new File(backups, name).getPath().replace("'", "''") + "'");
        File[] kept = backups.listFiles((parent, file) -> file.endsWith(".sql"));
        Arrays.sort(kept);
        for (int old = 0; old < kept.length - KEPT_BACKUPS; old++) {
            if (!kept[old].delete()) {
                throw new IllegalStateException("cannot delete " + kept[old]);
            }
        }
    }

    private void count() throws SQLException {
        long count = 0;
        long checksum = 0;
        for (String table : TABLES) {
            try (Statement statement = connection.createStatement();
                    ResultSet rows = statement.executeQuery("SELECT * FROM " + table)) {
                while (rows.next()) {
                    count++;
                    checksum += hash(table, rows);
                }
            }
        }
        System.out.println("records=" + count + " checksum=" + Long.toUnsignedString(checksum)
                + " acknowledged=" + acknowledged());
    }

    private static long hash(String table, ResultSet rows) throws SQLException {
        long hash = table.hashCode() * 0x9e3779b97f4a7c15L;
        for (int column = 1; column <= 5; column++) {
            String value = rows.getString(column);
            for (int index = 0; index < value.length(); index++) {
                hash = (hash ^ value.charAt(index)) * 0x100000001b3L;
            }
            hash = (hash ^ value.length()) * 0x100000001b3L;
        }
        return hash ^ hash >>> 29;
    }

    /** How many numbered commits there are; a gap would be a commit lost among later ones. */
    private long acknowledged() throws SQLException {
        String sql = "SELECT COUNT(*), COALESCE(MAX(NUMBER), 0) FROM ACKNOWLEDGED";
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            if (rows.getLong(1) != rows.getLong(2)) {
                throw new IllegalStateException(rows.getLong(1) + " commits up to number " + rows.getLong(2));
            }
            return rows.getLong(1);
        }
    }

    /** Commits small transactions, each with its number, until the input ends. */
    private void live(long seed) throws SQLException {
        AtomicBoolean stopped = stopAtEndOfInput();
        Random random = new Random(seed);
        long number = acknowledged();
        connection.setAutoCommit(false);
        String sql = "INSERT INTO MACHINE_NODE_STAT_LOG VALUES (?, ?, 0, 'live', ?)";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            do {
                number++;
                for (int row = 0; row < 5; row++) {
                    statement.setString(1, identifier(random));
                    statement.setLong(2, FIRST_DAY_MILLIS + number);
                    statement.setString(3, detail(random));
                    statement.executeUpdate();
                }
                run("INSERT INTO ACKNOWLEDGED VALUES (" + number + ")");
                connection.commit();
                // H2 writes behind its commits; only this makes them last.
                run("CHECKPOINT SYNC");
                System.out.println("committed=" + number);
            } while (!stopped.get());
        }
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

    private void run(String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    private static long millis(int day) {
        return FIRST_DAY_MILLIS + DAY_MILLIS * day;
    }

    private static String identifier(Random random) {
        return String.format("%016x%016x", random.nextLong(), random.nextLong());
    }

    /** JSON as the monitoring stores it; some of it long enough to be kept outside of its row. */
    private static String detail(Random random) {
        StringBuilder text = new StringBuilder("{\"id\":\"" + identifier(random) + "\"");
        int fields = random.nextInt(100) == 0 ? 60 : 3 + random.nextInt(5);
        for (int field = 0; field < fields; field++) {
            text.append(",\"occupy").append(field).append("\":").append(random.nextInt(10_000) / 100.0);
        }
        return text.append("}").toString();
    }
}
