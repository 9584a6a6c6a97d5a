/*
 * slot_worker.c
 *		Makes the slots that other members read from.
 *
 * In a process of its own, because making a logical slot waits for all transactions that
 * are running. Making the slot and telling the group (slot_made) are two transactions:
 * the row's transaction comes after the slot's position, so whoever has applied it has
 * everything that the slot does not have. Killed between the two, the next run finds the
 * slot and writes the row.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "replication/slot.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "control/manager_sql.h"
#include "control/sql.h"
#include "control/workers.h"

/* Makes what is missing, and tells the group. */
static void
make_slots(void)
{
	for (;;)
	{
		char	   *subscriber;

		CHECK_FOR_INTERRUPTS();
		subscriber = sql_value("SELECT subscriber FROM replication_plugin.missing_slots() LIMIT 1", 0, NULL);
		if (!subscriber)
			break;
		sql_value("SELECT replication_plugin.make_slot($1::integer)", 1,
				  (const char *const *) &subscriber);
	}
	sql_value("SELECT replication_plugin.announce_slots()", 0, NULL);
}

void
replication_plugin_slot_main(Datum dboid)
{
	MemoryContext context;

	worker_setup(DatumGetObjectId(dboid));
	context = AllocSetContextCreate(TopMemoryContext, "slots", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		make_slots();
		sql_note_error(NULL);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		if (MyReplicationSlot)
			ReplicationSlotRelease();
		ReplicationSlotCleanup();
		MemoryContextSwitchTo(context);
		sql_note_error(psprintf("no slot for a member: %s%s%s", edata->message,
								edata->hint ? " HINT: " : "", edata->hint ? edata->hint : ""));
	}
	PG_END_TRY();
	proc_exit(0);
}
