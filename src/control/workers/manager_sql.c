/*
 * manager_sql.c
 *		SQL statements of the manager. Each call is a transaction of its own.
 */
#include "postgres.h"

#include "base/settings.h"
#include "control/workers/manager_sql.h"
#include "control/workers/sql.h"

static const char link_exists_sql[] =
	"SELECT provider FROM replication_plugin.link WHERE provider = $1::integer";
static const char link_paused_sql[] =
	"SELECT paused FROM replication_plugin.link WHERE provider = $1::integer";
static const char note_error_sql[] =
	"UPDATE replication_plugin.local_node"
	" SET last_error = $1, last_error_at = CASE WHEN $1 IS NULL THEN last_error_at ELSE now() END"
	" WHERE last_error IS DISTINCT FROM $1";
static const char clear_error_sql[] =
	"UPDATE replication_plugin.local_node SET last_error = NULL WHERE last_error LIKE $1";
static const char delete_old_sql[] =
	"DELETE FROM replication_plugin.conflict_log"
	/* with two bounds, a plan that does not know them takes the index */
	" WHERE detected_at >= '-infinity'"
	" AND detected_at < now() - make_interval(secs => $1::double precision)";
static const char log_is_too_large_sql[] =
	"SELECT pg_total_relation_size('replication_plugin.conflict_log') > $1::bigint";
static const char delete_largest_sql[] =
	"WITH sizes AS (SELECT l.ctid AS id, sum(80 + pg_column_size(l.table_name) +"
	" coalesce(pg_column_size(l.row_key), 0)"
	"   + coalesce(pg_column_size(l.local_row), 0) + coalesce(pg_column_size(l.remote_row),"
	" 0) + coalesce(pg_column_size(l.detail), 0))"
	"  OVER (ORDER BY l.detected_at DESC, l.ctid DESC) AS size"
	" FROM replication_plugin.conflict_log l)"
	" DELETE FROM replication_plugin.conflict_log l USING sizes s"
	" WHERE l.ctid = s.id AND s.size > 0.9 * $1::bigint AND EXISTS (SELECT FROM sizes t"
	" WHERE t.size > $1::bigint)";

/* Reads a boolean value of SQL. */
static bool
is_true(const char *value)
{
	return value && value[0] == 't';
}

bool
sql_link_exists(NodeId provider)
{
	return sql_value_int(link_exists_sql, provider) != NULL;
}

bool
sql_link_paused(NodeId provider)
{
	return is_true(sql_value_int(link_paused_sql, provider));
}

void
sql_note_error(const char *message)
{
	sql_value(note_error_sql, 1, &message);
}

void
sql_clear_error(const char *pattern)
{
	sql_value(clear_error_sql, 1, &pattern);
}

/* Deletes rows of conflict_log that are older than conflict_retention. */
static void
prune_old_conflicts(void)
{
	const char *seconds = psprintf("%d", setting_conflict_retention);

	if (setting_conflict_retention < 0)
		return;
	sql_value(delete_old_sql, 1, &seconds);
}

/*
 * Deletes the oldest rows of conflict_log if the table exceeds conflict_log_size; a tenth more than
 * necessary, so that this does not happen each time. The size of the table's files tells whether to
 * compute the size of the rows. The files do not shrink, but VACUUM makes their space usable again.
 */
static void
prune_large_conflicts(void)
{
	const char *limit = psprintf(INT64_FORMAT, setting_conflict_log_size * INT64CONST(1048576));

	if (setting_conflict_log_size < 0 ||
		!is_true(sql_value(log_is_too_large_sql, 1, &limit)))
		return;
	sql_value(delete_largest_sql, 1, &limit);
}

void
sql_prune_conflicts(void)
{
	prune_old_conflicts();
	prune_large_conflicts();
}
