/*
 * lacking_places.c
 *		Shows, while a joining node waits for members, which of them has no place for an origin.
 *
 * PostgreSQL keeps the progress of a limited number of replication origins. On a member that has no
 * place for another one, only its own link shows the error, while the joining node would wait
 * without a word. Therefore a node that has waited for a while asks the members, and itself.
 */
#include "postgres.h"

#include "control/workers/lacking_places.h"
#include "control/workers/manager_sql.h"
#include "control/workers/sql.h"

#define ASK_MS	4000			/* before the first question, and between two */

static const char note_lacking_sql[] = "SELECT replication_plugin.note_lacking_origin_places()";

void
lacking_places_round(Moment *asked_at)
{
	if (*asked_at == 0)
		*asked_at = moment_now();
	if (!moment_is_past(*asked_at, ASK_MS))
		return;
	sql_value(note_lacking_sql, 0, NULL);
	*asked_at = moment_now();
}

void
lacking_places_end(void)
{
	sql_clear_error("node % lacks places for replication origins%");
}
