/*
 * manager_sql.c
 *		What a manager reads and writes by SQL; each call is a transaction of its own.
 */
#include "postgres.h"

#include "base/settings.h"
#include "control/manager_sql.h"
#include "control/sql.h"

/* Reads a boolean of SQL. */
static bool
is_true(const char *value)
{
	return value && value[0] == 't';
}

bool
sql_link_exists(NodeId provider)
{
	return sql_value_int("SELECT provider FROM replication_plugin.link WHERE provider = $1::integer",
						 provider) != NULL;
}

bool
sql_link_paused(NodeId provider)
{
	return is_true(sql_value_int("SELECT paused FROM replication_plugin.link WHERE provider = $1::integer",
								 provider));
}

void
sql_note_error(const char *message)
{
	sql_value("UPDATE replication_plugin.local_node"
			  " SET last_error = $1, last_error_at = CASE WHEN $1 IS NULL THEN last_error_at ELSE now() END"
			  " WHERE last_error IS DISTINCT FROM $1", 1, &message);
}

void
sql_prune_conflicts(void)
{
	const char *seconds = psprintf("%d", setting_conflict_retention);

	if (setting_conflict_retention < 0)
		return;
	sql_value("DELETE FROM replication_plugin.conflict_log"
			  " WHERE detected_at < now() - make_interval(secs => $1::double precision)", 1, &seconds);
}
