/*
 * wait_watch.h
 *		Logs which link workers of this database wait for a lock, and ends sessions that hold such
 *		locks for too long.
 */
#ifndef REPLICATION_PLUGIN_WAIT_WATCH_H
#define REPLICATION_PLUGIN_WAIT_WATCH_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* What a manager knows from earlier rounds. Zero at first. */
typedef struct WaitWatch
{
	/* start of the last wait that was logged, by index of the link; in TopMemoryContext */
	TimestampTz *told;
	List	   *offenders;		/* of Offender *, in TopMemoryContext */
} WaitWatch;

/* Does one round of the manager: logs once each lock wait of a link, and ends sessions for it. */
extern void wait_watch_round(WaitWatch *watch);

#endif							/* REPLICATION_PLUGIN_WAIT_WATCH_H */
