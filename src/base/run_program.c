/*
 * run_program.c
 *		Runs an external program (pg_dump, psql) from a backend or worker.
 *
 * The program's standard error is a pipe. This process reads it while it waits, so that the program
 * never blocks on it, and keeps the end of the text. The program runs in the process group of this
 * process, so it gets the signals that the postmaster sends to a group. Where the system supports
 * that, it is also killed when this process dies. After an error or interrupt here the program is
 * terminated, and killed if that does not help.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/wait_event.h"

#include "base/run_program.h"

#define POLL_MS			20
#define TERM_POLLS		250		/* after this many times POLL_MS it is killed */
#define STDERR_BYTES	4096	/* of the end of its messages that are kept */

typedef struct Program
{
	const char *path;
	pid_t		pid;
	int			stderr_fd;		/* this process's end of the pipe; -1: closed */
	StringInfoData messages;
} Program;

char *
program_path(const char *name)
{
	char	   *dir = pstrdup(my_exec_path);
	char	   *slash = last_dir_separator(dir);
	char	   *path;

	if (slash)
		*slash = '\0';
	path = psprintf("%s/%s", dir, name);
	pfree(dir);
	if (access(path, X_OK) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("program \"%s\" is not installed beside this server", path),
				 errhint("Install PostgreSQL's client programs of this version on this server, or copy the schema yourself and join with copy_schema => false.")));
	return path;
}

int
program_major_version(const char *path)
{
	char	   *command = psprintf("\"%s\" --version", path);
	FILE	   *f = OpenPipeStream(command, "r");
	char		line[256] = "";
	int			major = 0;
	char	   *p;

	if (f == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not execute command \"%s\": %m", command)));
	if (fgets(line, sizeof(line), f) == NULL)
		line[0] = '\0';
	ClosePipeStream(f);
	/* "pg_dump (PostgreSQL) 15.20 (Debian ...)" */
	p = strchr(line, ')');
	if (p == NULL || sscanf(p + 1, "%d", &major) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
				 errmsg("could not read the version of program \"%s\"", path)));
	return major;
}

/*
 * Becomes the program, in the child process. Does not return, and must not touch the parent's
 * state.
 */
static void
become_program(const char *const *argv, const char *const *environment, int in, int out,
			   int stderr_fd, pid_t parent)
{
	int			null = open("/dev/null", O_RDWR);
	long		max_fd = sysconf(_SC_OPEN_MAX);
	sigset_t	none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
#ifdef __linux__
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
#endif
	dup2(in >= 0 ? in : null, STDIN_FILENO);
	dup2(out >= 0 ? out : null, STDOUT_FILENO);
	dup2(stderr_fd, STDERR_FILENO);
	if (max_fd < 0 || max_fd > 65536)
		max_fd = 65536;
	for (int fd = STDERR_FILENO + 1; fd < max_fd; fd++)
		close(fd);
	for (; environment && *environment; environment++)
		putenv((char *) *environment);
	putenv("LC_ALL=C");
	execv(argv[0], (char *const *) argv);
	dprintf(STDERR_FILENO, "could not execute: %s\n", strerror(errno));
	_exit(127);
}

/* Starts the program. */
static void
start_program(Program *p, const char *const *argv, const char *const *environment, int in, int out)
{
	pid_t		self = getpid();
	int			fds[2];

	p->path = argv[0];
	initStringInfo(&p->messages);
	if (pipe(fds) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create a pipe: %m")));
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	p->stderr_fd = fds[0];
	fflush(NULL);
	p->pid = fork();
	if (p->pid == 0)
		become_program(argv, environment, in, out, fds[1], self);
	close(fds[1]);
	if (p->pid < 0)
	{
		close(fds[0]);
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not start program \"%s\": %m", argv[0])));
	}
}

/* Reads what the program has written to standard error, and keeps the end of it. */
static void
read_messages(Program *p)
{
	char		buf[1024];
	ssize_t		n;

	while (p->stderr_fd >= 0 && (n = read(p->stderr_fd, buf, sizeof(buf))) != -1)
	{
		if (n == 0)
		{
			close(p->stderr_fd);
			p->stderr_fd = -1;
			return;
		}
		appendBinaryStringInfo(&p->messages, buf, n);
		if (p->messages.len > 2 * STDERR_BYTES)
		{
			int			drop = p->messages.len - STDERR_BYTES;

			memmove(p->messages.data, p->messages.data + drop, STDERR_BYTES + 1);
			p->messages.len = STDERR_BYTES;
		}
	}
}

/* Waits until the program has ended. Returns its exit status. */
static int
wait_for_program(Program *p)
{
	int			status;

	for (;;)
	{
		pid_t		ended = waitpid(p->pid, &status, WNOHANG);
		int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT;

		read_messages(p);
		if (ended == p->pid)
		{
			p->pid = 0;
			return status;
		}
		if (ended < 0 && errno != EINTR)
			elog(ERROR, "could not wait for program \"%s\": %m", p->path);
		if (p->stderr_fd >= 0)
			events |= WL_SOCKET_READABLE;
		if (WaitLatchOrSocket(MyLatch, events, p->stderr_fd, POLL_MS, PG_WAIT_EXTENSION) &
			WL_LATCH_SET)
			ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Terminates the program, without serving interrupts. */
static void
stop_program(Program *p)
{
	int			status;

	if (p->stderr_fd >= 0)
		close(p->stderr_fd);
	if (p->pid <= 0)
		return;
	kill(p->pid, SIGTERM);
	for (int i = 0; i < TERM_POLLS; i++)
	{
		if (waitpid(p->pid, &status, WNOHANG) != 0)
			return;
		pg_usleep(POLL_MS * 1000L);
	}
	kill(p->pid, SIGKILL);
	waitpid(p->pid, &status, 0);
}

/* Raises the error of a program that has failed. */
static void
raise_failure(Program *p, int status, char *(*tell) (const char *messages, void *arg), void *arg)
{
	const char *name = last_dir_separator(p->path) ? last_dir_separator(p->path) + 1 : p->path;
	char	   *messages = pchomp(p->messages.data);

	if (tell)
		messages = tell(messages, arg);
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("program \"%s\" failed: %s", name, wait_result_to_str(status)),
			 messages[0] ? errdetail_internal("%s", messages) : 0));
}

void
run_program(const char *const *argv, const char *const *environment, int in, int out,
			char *(*tell)(const char *messages, void *arg), void *arg)
{
	Program		program;
	volatile int status = 0;

	start_program(&program, argv, environment, in, out);
	PG_TRY();
	{
		status = wait_for_program(&program);
	}
	PG_FINALLY();
	{
		stop_program(&program);
	}
	PG_END_TRY();
	if (status != 0)
		raise_failure(&program, status, tell, arg);
	pfree(program.messages.data);
}
