/*
 * join_state.c
 *		The state of a join: local_node.state, progress and errors.
 *
 * Only the join worker moves the state forward. leave_group() may set it to 'left', or delete the
 * row, at any time. Therefore every change names the state from which it starts, and a worker that
 * does not find that state exits without an error.
 */
#include "postgres.h"

#include "access/xact.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/own_transaction.h"
#include "base/settings.h"
#include "control/join/join.h"
#include "control/workers/sql.h"
#include "control/workers/workers.h"
#include "shared/origin_mark.h"

#define BIT(state)	(1 << (state))

static const char set_state_sql[] =
	"UPDATE replication_plugin.local_node SET state = $1, progress = NULL,"
	" failures = CASE WHEN $3::boolean THEN 0 ELSE failures END,"
	" last_error = CASE WHEN NOT $3::boolean THEN last_error END,"
	" failed_state = CASE WHEN NOT $3::boolean THEN failed_state END"
	" WHERE state = $2 RETURNING 1";
static const char set_progress_sql[] =
	"UPDATE replication_plugin.local_node SET progress = $1"
	" WHERE state LIKE 'joining:%' AND progress IS DISTINCT FROM $1 RETURNING 1";
static const char is_joining_sql[] =
	"SELECT 1 FROM replication_plugin.local_node WHERE state LIKE 'joining:%'";
static const char set_error_sql[] =
	"UPDATE replication_plugin.local_node SET last_error = $1, last_error_at = clock_timestamp(),"
	" failures = failures + 1, failed_state = state WHERE state LIKE 'joining:%'";
static const char pause_left_sql[] =
	"SELECT greatest(0, least($2::double precision,"
	" $1::double precision * 2 ^ least(failures - 1, 20))"
	"  - 1000 * extract(epoch FROM clock_timestamp() - last_error_at))::integer"
	" FROM replication_plugin.local_node WHERE failures > 0 AND last_error_at <= clock_timestamp()";

/*
 * Names as in local_node.state, and allowed successors. The copying states start over when the
 * snapshot is lost.
 */
static const struct
{
	const char *name;
	int			successors;
}			states[] =
{
	[JOIN_SLOT] = {"joining: slot", BIT(JOIN_SLOT) | BIT(JOIN_SCHEMA)},
	[JOIN_SCHEMA] = {"joining: schema", BIT(JOIN_SLOT) | BIT(JOIN_COPY)},
	[JOIN_COPY] = {"joining: copy", BIT(JOIN_SLOT) | BIT(JOIN_INDEXES)},
	[JOIN_ADOPT] = {"joining: adopt", BIT(JOIN_INDEXES)},
	[JOIN_INDEXES] = {"joining: indexes", BIT(JOIN_CATCHING_UP)},
	[JOIN_CATCHING_UP] = {"joining: catching up", BIT(JOIN_OPENING)},
	[JOIN_OPENING] = {"joining: opening links", BIT(JOIN_READY)},
	[JOIN_READY] = {"ready", 0},
};

const char *
join_state_name(JoinStep state)
{
	return states[state].name;
}

/* Reads local_node into the caller's memory context. Returns NULL if there is no row. */
static LocalNode *
join_state_read_local(void)
{
	OwnTransaction t = own_transaction_begin_sql();
	LocalNode  *local;

	MemoryContextSwitchTo(t.context);
	local = nodes_local();
	own_transaction_end(&t);
	return local;
}

void
join_read_state(Joining *join)
{
	join->local = join_state_read_local();
	for (int i = 0; join->local && i < JOIN_READY; i++)
	{
		if (strcmp(join->local->state, states[i].name) == 0)
		{
			join->state = i;
			return;
		}
	}
	proc_exit(0);
}

/* Returns true if the state of the last error comes before a step, or if there was no error. */
static bool
join_state_is_behind(const char *failed_state, JoinStep step)
{
	for (int i = 0; failed_state && i < JOIN_READY; i++)
	{
		if (strcmp(failed_state, states[i].name) == 0)
			return i < (int) step;
	}
	return true;
}

void
join_set_state(Joining *join, JoinStep to)
{
	const char *params[3] = {states[to].name, states[join->state].name,
							 join_state_is_behind(join->local->failed_state, to) ? "t" : "f"};

	Assert(states[join->state].successors & BIT(to));
	/*
	 * An error is cleared when the state in which it was met is passed, not when a try starts over.
	 */
	if (!sql_value(set_state_sql, 3, params))
		proc_exit(0);
	ereport(DEBUG1, (errmsg_internal("join: from \"%s\" to \"%s\"", params[1], params[0])));
	join->state = to;
}

void
join_progress(const char *fmt,...)
{
	char		text[512];
	const char *params[1] = {text};
	va_list		args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (!sql_value(set_progress_sql, 1, params) &&
		!sql_value(is_joining_sql, 0, NULL))
		proc_exit(0);
}

void
join_note_error(MemoryContext context)
{
	ErrorData  *edata;
	const char *text;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	origin_abort_transaction();
	MemoryContextSwitchTo(context);
	text = edata->message;
	if (edata->detail)
		text = psprintf("%s DETAIL: %s", text, edata->detail);
	if (edata->hint)
		text = psprintf("%s HINT: %s", text, edata->hint);
	if (edata->context)
		text = psprintf("%s CONTEXT: %s", text, edata->context);
	sql_value(set_error_sql, 1, &text);
}

void
join_pause_after_failures(void)
{
	const char *params[2] = {psprintf("%d", setting_retry_min), psprintf("%d", setting_retry_max)};
	char	   *ms = sql_value(pause_left_sql, 2, params);
	Moment		end;

	if (ms == NULL)
		return;
	end = moment_after(atoi(ms));
	for (;;)
	{
		long		left = moment_ms_until(end);

		if (left <= 0)
			return;
		worker_wait(left);
	}
}
