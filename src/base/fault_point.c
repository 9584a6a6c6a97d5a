/*
 * fault_point.c
 *		Points at which tests stop a server. Without -DREPLICATION_PLUGIN_FAULT_POINTS this file
 *		is empty.
 *
 * The state is a file in the data directory. So it needs no shared memory and no setting, and a
 * point that has acted stays disarmed across the restart that it causes.
 */
#include "postgres.h"

#include "base/fault_point.h"

#ifdef REPLICATION_PLUGIN_FAULT_POINTS

#include <signal.h>
#include <unistd.h>

#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/lsyscache.h"

/* SQL functions at whose end there is a point "after_<function>". */
static const char *const functions[] = {
	"admit_node", "announce", "drop_origins", "drop_slots_of_removed", "make_group_slot", "note_expulsion", "prepare_removal",
	"provide_slot", "remove_node", "store_topology", "teardown", "write_frontier_row"
};

static needs_fmgr_hook_type previous_needs_hook = NULL;
static fmgr_hook_type previous_hook = NULL;

/* Reads the armed point: its name and action. Returns false if there is none. */
static bool
read_armed(char *name, char *action)
{
	FILE	   *file = AllocateFile(FAULT_POINT_FILE, "r");
	bool		armed;

	if (!file)
		return false;
	armed = fscanf(file, "%63s %15s", name, action) == 2;
	FreeFile(file);
	return armed;
}

/* Waits until the test creates FAULT_POINT_GO. */
static void
wait_for_go(void)
{
	while (access(FAULT_POINT_GO, F_OK) != 0)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(10000);
	}
	unlink(FAULT_POINT_GO);
}

void
fault_point_reach(const char *name)
{
	char		armed[64];
	char		action[16];

	if (access(FAULT_POINT_FILE, F_OK) != 0 || !read_armed(armed, action) || strcmp(armed, name) != 0)
		return;
	/* if two processes get here at once, one of them acts */
	if (unlink(FAULT_POINT_FILE) != 0)
		return;
	write_stderr("fault point %s: %s\n", name, action);
	if (strcmp(action, "crash") == 0)
		kill(MyProcPid, SIGKILL);
	else if (strcmp(action, "wait") == 0)
		wait_for_go();
	else
		ereport(ERROR, (errmsg("fault point %s", name)));
}

/* Returns the index of a function in the list; -1 if it is not there. */
static int
function_index(Oid funcid)
{
	char	   *name;
	char	   *schema;
	int			result = -1;

	if (funcid < FirstNormalObjectId || !IsTransactionState() || IsAbortedTransactionBlockState())
		return -1;
	name = get_func_name(funcid);
	schema = name ? get_namespace_name(get_func_namespace(funcid)) : NULL;
	for (int i = 0; schema && strcmp(schema, "replication_plugin") == 0 && i < lengthof(functions); i++)
	{
		if (strcmp(functions[i], name) == 0)
			result = i;
	}
	return result;
}

/* Returns true for the functions for which PostgreSQL has to call the hook. */
static bool
fault_point_needs_hook(Oid funcid)
{
	return (previous_needs_hook && previous_needs_hook(funcid)) || function_index(funcid) >= 0;
}

/* Function manager hook. */
static void
fault_point_at_function(FmgrHookEventType event, FmgrInfo *flinfo, Datum *arg)
{
	int			i = event == FHET_END ? function_index(flinfo->fn_oid) : -1;

	if (previous_hook)
		previous_hook(event, flinfo, arg);
	if (i >= 0)
	{
		char		name[64];

		snprintf(name, sizeof(name), "after_%s", functions[i]);
		fault_point_reach(name);
	}
}

void
fault_point_install(void)
{
	previous_needs_hook = needs_fmgr_hook;
	needs_fmgr_hook = fault_point_needs_hook;
	previous_hook = fmgr_hook;
	fmgr_hook = fault_point_at_function;
}

#endif							/* REPLICATION_PLUGIN_FAULT_POINTS */
