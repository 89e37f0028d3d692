import com.sleepycat.je.DatabaseException;
import com.sleepycat.je.Environment;
import com.sleepycat.je.util.DbBackup;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.lang.reflect.Method;
import java.nio.charset.Charset;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Backs a live Berkeley DB Java Edition environment up with treering, with the environment's own help.
 *
 * <p>Drop this class into your application; it needs JE and the program treering, nothing else, and works with JE 3.3 to
 * 18.3. While it runs JE deletes no log file that the backup needs, and it may not be closed.
 *
 * <pre>
 * List&lt;String&gt; command = Arrays.asList("treering", "-r", "/backup/rings", "--key-file", "/root/rings.key", "backup",
 *         "--je-env", "/var/lib/app/je");
 * long last = new TreeringBackup(environment, command, -1).run();
 * // the next time only what is new since then is read:
 * last = new TreeringBackup(environment, command, last).run();
 * </pre>
 *
 * <p>The number may be asked of the repository instead of kept: {@code treering je last-file --path /var/lib/app/je}.
 *
 * <p>The order, which is what makes the snapshot whole: start the backup; name all files that the environment needs; let
 * treering read them, and give up the protection of each as soon as treering has it; end the backup, by which JE says
 * whether the files were left alone; only then let treering commit the snapshot. If anything fails, or takes longer than
 * the time limit, treering is stopped, no snapshot is written, and JE's backup is ended all the same.
 */
public final class TreeringBackup {
    private static final Charset UTF_8 = Charset.forName("UTF-8");
    private static final long DEFAULT_LIMIT_MS = 6L * 60 * 60 * 1000;

    private final Environment environment;
    private final List<String> command;
    private final long after;
    private long limitMs = DEFAULT_LIMIT_MS;

    /**
     * Prepares a backup.
     *
     * @param environment an open environment that may be written to
     * @param command the program treering with its arguments, up to and with {@code backup --je-env FOLDER}
     * @param after the last file of the backup before this one, or a negative number to read all files
     */
    public TreeringBackup(Environment environment, List<String> command, long after) {
        this.environment = environment;
        this.command = new ArrayList<String>(command);
        this.after = after;
    }

    /**
     * Sets how long a backup may take. JE's files pile up meanwhile, so it must not take forever.
     *
     * @param milliseconds the limit; six hours unless set
     * @return this
     */
    public TreeringBackup limit(long milliseconds) {
        this.limitMs = milliseconds;
        return this;
    }

    /**
     * Makes the backup.
     *
     * @return the number of the last file in it, for the next time
     * @throws IOException if treering failed or took too long; no snapshot was written
     * @throws DatabaseException if JE failed; no snapshot was written
     */
    public long run() throws IOException, DatabaseException {
        DbBackup backup = new DbBackup(environment);
        backup.startBackup();
        AtomicBoolean isOpen = new AtomicBoolean(true);
        try {
            return store(backup, isOpen);
        } finally {
            if (isOpen.get()) {
                backup.endBackup();
            }
        }
    }

    private long store(DbBackup backup, AtomicBoolean isOpen) throws IOException, DatabaseException {
        long last = backup.getLastFileInBackupSet();
        Process process = new ProcessBuilder(words()).start();
        AtomicBoolean isLate = new AtomicBoolean();
        StringBuffer errors = new StringBuffer();
        Thread complaints = collect(process, errors);
        Thread watch = stopWhenLate(process, isLate);
        try {
            IOException broken = null;
            boolean isStored = false;
            try {
                isStored = talk(backup, isOpen, process);
            } catch (IOException early) {
                // treering ended early; its exit code and what it has said tell why.
                broken = early;
            }
            finish(process, complaints, errors, isLate);
            if (broken != null) {
                throw broken;
            }
            if (!isStored) {
                throw new IOException("treering ended before it had stored all files");
            }
            return last;
        } finally {
            watch.interrupt();
            // Has no effect on one that has ended.
            process.destroy();
        }
    }

    /** Whether treering has stored all files; then JE's backup has ended, and treering was told. */
    private boolean talk(DbBackup backup, AtomicBoolean isOpen, Process process)
            throws IOException, DatabaseException {
        Writer toTreering = new OutputStreamWriter(process.getOutputStream(), UTF_8);
        name(backup.getLogFilesInBackupSet(), toTreering);
        BufferedReader said = new BufferedReader(new InputStreamReader(process.getInputStream(), UTF_8));
        if (!waitForFiles(backup, said)) {
            return false;
        }
        isOpen.set(false);
        backup.endBackup();
        toTreering.write("end\n");
        toTreering.close();
        readToEnd(said);
        return true;
    }

    private List<String> words() {
        List<String> words = new ArrayList<String>(command);
        words.add("--je-files-from");
        words.add("-");
        if (after >= 0) {
            words.add("--je-after");
            words.add(Long.toString(after));
        }
        return words;
    }

    /** Names the files; the empty line says that the end of the backup will be confirmed. */
    private static void name(String[] files, Writer toTreering) throws IOException {
        for (String file : files) {
            toTreering.write(file + "\n");
        }
        toTreering.write("\n");
        toTreering.flush();
    }

    /** Whether treering has all files. Gives up the protection of each that it has. */
    private static boolean waitForFiles(DbBackup backup, BufferedReader said) throws IOException {
        Method remove = protection(backup);
        for (String line = said.readLine(); line != null; line = said.readLine()) {
            if (line.startsWith("stored ")) {
                removeProtection(remove, backup, line.substring("stored ".length()));
            } else if (line.startsWith("all-stored ")) {
                return true;
            }
        }
        return false;
    }

    /** The method by which a single file is given up; older versions have none and give up all files at the end. */
    private static Method protection(DbBackup backup) {
        try {
            return backup.getClass().getMethod("removeFileProtection", String.class);
        } catch (NoSuchMethodException older) {
            return null;
        }
    }

    private static void removeProtection(Method remove, DbBackup backup, String file) throws IOException {
        if (remove == null) {
            return;
        }
        try {
            remove.invoke(backup, file);
        } catch (ReflectiveOperationException unexpected) {
            throw new IOException("cannot give up the protection of " + file, unexpected);
        }
    }

    private static void readToEnd(BufferedReader said) throws IOException {
        while (said.readLine() != null) {
            // What treering prints at its end is for people.
        }
    }

    private void finish(Process process, Thread complaints, StringBuffer errors, AtomicBoolean isLate)
            throws IOException {
        int code;
        try {
            code = process.waitFor();
            complaints.join();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while treering was at work", interrupted);
        }
        if (isLate.get()) {
            throw new IOException("treering took longer than " + limitMs + " ms and was stopped");
        }
        if (code != 0) {
            throw new IOException("treering ended with " + code + ": " + errors.toString().trim());
        }
    }

    private static Thread collect(final Process process, final StringBuffer errors) {
        Thread thread = new Thread("treering-errors") {
            @Override
            public void run() {
                try {
                    BufferedReader said = new BufferedReader(new InputStreamReader(process.getErrorStream(), UTF_8));
                    for (String line = said.readLine(); line != null; line = said.readLine()) {
                        errors.append(line).append('\n');
                    }
                } catch (IOException closed) {
                    // The process was stopped.
                }
            }
        };
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    private Thread stopWhenLate(final Process process, final AtomicBoolean isLate) {
        Thread thread = new Thread("treering-time-limit") {
            @Override
            public void run() {
                try {
                    Thread.sleep(limitMs);
                    isLate.set(true);
                    process.destroy();
                } catch (InterruptedException inTime) {
                    // The backup has ended.
                }
            }
        };
        thread.setDaemon(true);
        thread.start();
        return thread;
    }
}
