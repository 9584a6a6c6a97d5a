/*
 * update_guard.c
 *		Refuses ALTER EXTENSION ... UPDATE on a member whose server has another version loaded.
 *
 * A library that is installed is loaded when the server starts again. If the SQL in a member's
 * database were updated before that, the member would take no writes until the restart
 * (docs/protocol.md, Versions).
 */
#include "postgres.h"

#include "access/xact.h"
#include "nodes/parsenodes.h"

#include "catalog/names.h"
#include "catalog/nodes.h"
#include "control/guard/update_guard.h"
#include "wire/protocol.h"

/* Returns true if a command updates the extension. */
static bool
is_update(Node *stmt)
{
	return IsA(stmt, AlterExtensionStmt) &&
		strcmp(((AlterExtensionStmt *) stmt)->extname, EXTENSION_NAME) == 0;
}

void
update_guard_command(const UtilityCommand *command)
{
	char	   *version;

	utility_next(command);
	if (!is_update(command->pstmt->utilityStmt) || !nodes_local_in_group())
		return;
	CommandCounterIncrement();
	version = extension_version();
	if (version && strcmp(version, EXTENSION_VERSION) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" cannot be updated to version %s here: this server has loaded the library of version %s",
						EXTENSION_NAME, version, EXTENSION_VERSION),
				 errhint("Install version %s and restart the server first.", version)));
}
