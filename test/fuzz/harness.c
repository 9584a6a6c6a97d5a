/*
 * harness.c
 *		Runs a target in a single-user server: by libFuzzer, or over files.
 *
 *	fuzz_run(target, arguments)		libFuzzer's own command line
 *	fuzz_replay(target, list, out)	each file of a list once; writes which edges were covered
 *	fuzz_seeds(target, directory)	what the real writers write
 *
 * None of them returns to SQL: they take the process over, and end it.
 */
#include "postgres.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/session.h"
#include "fuzz.h"

PG_FUNCTION_INFO_V1(fuzz_run);
PG_FUNCTION_INFO_V1(fuzz_replay);
PG_FUNCTION_INFO_V1(fuzz_seeds);

#define CACHES_EVERY	20000	/* inputs after which the system caches are emptied: they remember each name that is not there */
#define VACUUM_EVERY	50000	/* inputs after which the tables are vacuumed: a row that has been taken back stays in its page */

extern int	LLVMFuzzerRunDriver(int *argc, char ***argv, int (*callback) (const uint8_t *data, size_t size));
extern void __sanitizer_print_stack_trace(void);

static const FuzzTarget *const targets[] = {
	&fuzz_wire, &fuzz_value, &fuzz_link, &fuzz_message, &fuzz_state, &fuzz_merge, &fuzz_key, &fuzz_import,
	&fuzz_context, &fuzz_frontier, &fuzz_token, &fuzz_options, &fuzz_pattern, &fuzz_topology, &fuzz_dsn, &fuzz_lists,
};

static const FuzzTarget *target;
static MemoryContext input_context;
static ResourceOwner base_owner;
static uint64 runs = 0;
static uint64 answered = 0;		/* by an error */
static const char *seed_directory;
static int	error_line;			/* of the last error that our code has raised */
static const char *error_function;

/* ---------- parts of an input ---------- */

uint8
fuzz_byte(FuzzInput *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

uint64
fuzz_bytes(FuzzInput *in, int n)
{
	uint64		v = 0;

	while (n-- > 0)
		v = v << 8 | fuzz_byte(in);
	return v;
}

char *
fuzz_line(FuzzInput *in, char separator)
{
	const uint8 *end = in->size > 0 ? memchr(in->data, separator, in->size) : NULL;
	size_t		n = end ? end - in->data : in->size;
	const uint8 *zero = n > 0 ? memchr(in->data, 0, n) : NULL;
	size_t		len = zero ? zero - in->data : n;
	char	   *text = palloc(len + 1);

	memcpy(text, in->data, len);
	text[len] = '\0';
	in->data += n + (end ? 1 : 0);
	in->size -= n + (end ? 1 : 0);
	return text;
}

char *
fuzz_text(FuzzInput *in)
{
	char	   *text = palloc(in->size + 1);

	memcpy(text, in->data, in->size);
	text[in->size] = '\0';
	return text;
}

char *
fuzz_rest(FuzzInput *in, int *len)
{
	char	   *rest = palloc(in->size);

	memcpy(rest, in->data, in->size);
	*len = (int) in->size;
	return rest;
}

bool
fuzz_any_bytes_are(Oid typid)
{
	switch (typid)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case BYTEAOID:
		case UUIDOID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return true;
		default:
			return false;
	}
}

void
fuzz_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "fuzz_check failed: %s:%d: %s\n", file, line, what);
	__sanitizer_print_stack_trace();
	abort();
}

/* ---------- one input ---------- */

/* Leaks are told in warnings; whatever else is told is of no interest. */
static void
look_at_log(ErrorData *e)
{
	if (e->elevel == WARNING && e->message &&
		(strstr(e->message, "leak") || strstr(e->message, "not closed") || strstr(e->message, "problem in alloc set")))
		fuzz_failed(e->filename ? e->filename : "?", e->lineno, e->message);
	if (e->elevel < FATAL)
		e->output_to_server = false;
	e->output_to_client = false;
}

void
fuzz_errfinish(const char *filename, int lineno, const char *funcname)
{
	error_line = lineno;
	error_function = funcname;
	errfinish(filename, lineno, funcname);
}

/* An error is an answer, if it is not one that tells of a fault of ours. */
static void
look_at_error(void)
{
	ErrorData  *e;

	answered++;
	if (geterrcode() == ERRCODE_INTERNAL_ERROR && !target->internal_errors)
	{
		e = CopyErrorData();
		if (e->lineno == error_line && e->funcname == error_function)
			fuzz_failed(e->filename, e->lineno, e->message);
	}
	FlushErrorState();
}

/* Gives back what an input has taken. */
static void
release(ResourceOwner owner, bool commit)
{
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, commit, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, commit, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, commit, false);
	CurrentResourceOwner = base_owner;
	ResourceOwnerDelete(owner);
}

/* Empties what grows with each thing that is asked for. */
static void
empty_caches(void)
{
	if (target->own_transactions)
		StartTransactionCommand();
	InvalidateSystemCaches();
	if (target->own_transactions)
		CommitTransactionCommand();
}

/* Vacuums all tables; a target's inputs write rows, and scans would read ever more of them that nobody sees. */
static void
vacuum_tables(void)
{
	VacuumParams params = {.options = VACOPT_VACUUM | VACOPT_PROCESS_TOAST,.freeze_min_age = -1,.freeze_table_age = -1,.multixact_freeze_min_age = -1,
		.multixact_freeze_table_age = -1,.log_min_duration = -1,
	};

	StartTransactionCommand();
	PortalContext = AllocSetContextCreate(TopMemoryContext, "fuzz vacuum", ALLOCSET_DEFAULT_SIZES);
	vacuum(NIL, &params, NULL, true);
	CommitTransactionCommand();
	MemoryContextDelete(PortalContext);
	PortalContext = NULL;
}

static int
run_input(const uint8_t *data, size_t size)
{
	FuzzInput	in = {data, size};
	ResourceOwner owner = NULL;
	volatile bool done = false;
	volatile bool keep = true;
	int			nest = 0;
	Oid			user;
	int			security;

	if (++runs % CACHES_EVERY == 0)
		empty_caches();
	if (target->own_transactions && runs % VACUUM_EVERY == 0)
		vacuum_tables();
	if (!target->own_transactions)
	{
		CurrentResourceOwner = owner = ResourceOwnerCreate(base_owner, "fuzz input");
		nest = NewGUCNestLevel();
		/* a target that begins its own transactions begins its own row sessions, too */
		GetUserIdAndSecContext(&user, &security);
		SetUserIdAndSecContext(user, security | SESSION_ROW);
	}
	MemoryContextSwitchTo(input_context);
	PG_TRY();
	{
		keep = target->run(&in);
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(input_context);
		look_at_error();
	}
	PG_END_TRY();
	if (!target->own_transactions)
	{
		SetUserIdAndSecContext(user, security);
		AtEOXact_GUC(done, nest);
		release(owner, done);
	}
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextReset(input_context);
	return keep ? 0 : -1;
}

/* ---------- the process ---------- */

/* Ends the transaction that has called us, and has one that lasts, if the target does not make its own. */
static void
take_over(const char *name)
{
	for (int i = 0; i < lengthof(targets) && !target; i++)
	{
		if (strcmp(targets[i]->name, name) == 0)
			target = targets[i];
	}
	if (!target)
		elog(ERROR, "there is no target \"%s\"", name);
	MemoryContextSwitchTo(TopMemoryContext);
	AbortOutOfAnyTransaction();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(TopMemoryContext);
	if (target->prepare)
		target->prepare();
	if (target->own_transactions)
	{
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	else
		base_owner = CurrentResourceOwner;
	input_context = fuzz_context_create(TopMemoryContext, "fuzz input", 0, 0, 0);
	emit_log_hook = look_at_log;
	MemoryContextSwitchTo(TopMemoryContext);
}

/* The words of a text. */
static char **
split(char *text, int *n)
{
	char	  **words = palloc((strlen(text) + 3) * sizeof(char *));
	char	   *save = NULL;

	*n = 0;
	words[(*n)++] = "fuzz";
	for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		words[(*n)++] = word;
	words[*n] = NULL;
	return words;
}

/* Tells how many inputs there were. */
static void
tell(void)
{
	fprintf(stderr, "fuzz: %s: " UINT64_FORMAT " runs, " UINT64_FORMAT " of them answered by an error\n", target->name, runs, answered);
}

/* fuzz_run(target text, arguments text) */
Datum
fuzz_run(PG_FUNCTION_ARGS)
{
	static const int signals[] = {SIGALRM, SIGINT, SIGTERM, SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGUSR1, SIGUSR2, SIGHUP};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			argc;
	char	  **argv = split(text_to_cstring(PG_GETARG_TEXT_PP(1)), &argc);

	MemoryContextSwitchTo(old);
	take_over(name);
	/* libFuzzer takes those signals that nobody has taken */
	for (int i = 0; i < lengthof(signals); i++)
		signal(signals[i], SIG_DFL);
	atexit(tell);
	LLVMFuzzerRunDriver(&argc, &argv, run_input);
	tell();
	fflush(NULL);
	_exit(0);
}

/* ---------- coverage ---------- */

/* What the compiler has laid down: a counter for each edge, and its address with flags. */
extern uint8 __start___sancov_cntrs[] __attribute__((weak, visibility("hidden")));
extern uint8 __stop___sancov_cntrs[] __attribute__((weak, visibility("hidden")));
extern uintptr_t __start___sancov_pcs[] __attribute__((weak, visibility("hidden")));
extern const char __ehdr_start[] __attribute__((weak, visibility("hidden")));	/* where the library lies */

/* Runs one file. */
static void
replay_file(const char *path)
{
	FILE	   *f = fopen(path, "rb");
	uint8	   *data = malloc(1 << 20);
	size_t		n;

	if (!f)
		elog(FATAL, "cannot read \"%s\": %m", path);
	n = fread(data, 1, 1 << 20, f);
	fclose(f);
	data = realloc(data, Max(n, 1));	/* of just its size */
	run_input(data, n);
	free(data);
}

/* fuzz_replay(target text, list text, out text): lines "address covered" */
Datum
fuzz_replay(PG_FUNCTION_ARGS)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *list = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *out = text_to_cstring(PG_GETARG_TEXT_PP(2));
	int			n = __stop___sancov_cntrs - __start___sancov_cntrs;
	bool	   *covered = calloc(n, 1);
	FILE	   *f;
	char		path[MAXPGPATH];

	MemoryContextSwitchTo(old);
	take_over(name);
	memset(__start___sancov_cntrs, 0, n);
	f = fopen(list, "r");
	while (f && fgets(path, sizeof(path), f))
	{
		path[strcspn(path, "\n")] = '\0';
		replay_file(path);
		for (int i = 0; i < n; i++)
			covered[i] |= __start___sancov_cntrs[i] != 0;
		memset(__start___sancov_cntrs, 0, n);
	}
	f = fopen(out, "w");
	for (int i = 0; i < n; i++)
		fprintf(f, "0x%lx %d\n", (unsigned long) (__start___sancov_pcs[2 * i] - (uintptr_t) __ehdr_start), covered[i]);
	fclose(f);
	tell();
	fflush(NULL);
	_exit(0);
}

/* ---------- seeds ---------- */

void
fuzz_seed(const char *name, const void *data, int len)
{
	char	   *path = psprintf("%s/%s", seed_directory, name);
	FILE	   *f = fopen(path, "wb");

	if (!f || fwrite(data, 1, len, f) != len || fclose(f) != 0)
		elog(FATAL, "cannot write \"%s\": %m", path);
	pfree(path);
}

void
fuzz_seed_text(const char *name, const char *text)
{
	fuzz_seed(name, text, strlen(text));
}

/* fuzz_seeds(target text, directory text) */
Datum
fuzz_seeds(PG_FUNCTION_ARGS)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	seed_directory = text_to_cstring(PG_GETARG_TEXT_PP(1));
	MemoryContextSwitchTo(old);
	take_over(name);
	if (target->own_transactions)
	{
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	MemoryContextSwitchTo(input_context);
	if (target->seeds)
		target->seeds();
	fflush(NULL);
	_exit(0);
}
