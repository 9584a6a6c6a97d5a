/*
 * run_program.c
 *		Running an external program (pg_dump, pg_restore) from a worker.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"

#include "base/run_program.h"

#define POLL_MS			20
#define STDERR_BYTES	2000	/* how much of its complaints is kept */

char *
program_path(const char *name)
{
	char	   *path = pstrdup(my_exec_path);
	char	   *slash = strrchr(path, '/');
	char	   *result;

	if (slash)
		*slash = '\0';
	result = psprintf("%s/%s", path, name);
	if (access(result, X_OK) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("program \"%s\" is not installed beside this server", result),
				 errhint("Install PostgreSQL's client programs of this version on this server, or copy the schema yourself and join with copy_schema => false.")));
	return result;
}

/* The child: becomes the program. Does not return. */
static void
become_program(const char *const *argv, const char *password, const char *stderr_file)
{
	int			null = open("/dev/null", O_RDWR);
	int			err = open(stderr_file, O_WRONLY | O_CREAT | O_TRUNC, S_IRUSR | S_IWUSR);

	setsid();
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	{
		sigset_t	none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
	}
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
		close(fd);
	if (password)
		setenv("PGPASSWORD", password, 1);
	setenv("LC_ALL", "C", 1);
	execv(argv[0], (char *const *) argv);
	_exit(127);
}

/* The end of a file, palloc'd. */
static char *
end_of_file(const char *path)
{
	char	   *text = palloc0(STDERR_BYTES + 1);
	FILE	   *f = fopen(path, "r");
	long		size;

	if (!f)
		return text;
	if (fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) > STDERR_BYTES)
		fseek(f, size - STDERR_BYTES, SEEK_SET);
	else
		rewind(f);
	if (fread(text, 1, STDERR_BYTES, f) == 0)
		text[0] = '\0';
	fclose(f);
	return text;
}

/* Waits for a child; ends it when an interrupt ends the wait. Returns its status. */
static int
wait_for_program(pid_t pid)
{
	int			status = 0;

	PG_TRY();
	{
		while (waitpid(pid, &status, WNOHANG) == 0)
		{
			if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, POLL_MS,
						  PG_WAIT_EXTENSION) & WL_LATCH_SET)
				ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_CATCH();
	{
		kill(-pid, SIGTERM);
		waitpid(pid, &status, 0);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return status;
}

void
run_program(const char *const *argv, const char *password)
{
	char	   *stderr_file = psprintf("pg_stat_tmp/replication_plugin.%d.stderr", MyProcPid);
	pid_t		pid;
	int			status;
	char	   *complaints;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not start \"%s\": %m", argv[0])));
	if (pid == 0)
		become_program(argv, password, stderr_file);
	status = wait_for_program(pid);
	complaints = end_of_file(stderr_file);
	unlink(stderr_file);
	if (status != 0)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("\"%s\" failed: %s", argv[0],
						complaints[0] ? pchomp(complaints) : psprintf("status %d", status))));
}
