/*
 * kept.h
 *		Applies the kept changes of tables that wait.
 */
#ifndef REPLICATION_PLUGIN_KEPT_H
#define REPLICATION_PLUGIN_KEPT_H

#include "apply/apply.h"
#include "control/waiting/gone_table.h"
#include "receive/gate.h"

#define KEPT_STATEMENTS	3

/* What a park worker keeps from one round to the next. Zero at first. */
typedef struct KeptWork
{
	Gate		gate;
	struct Changes *changes;	/* what has changed since the last round (kept_due.h) */
	GoneTables	gone;
	struct _SPI_plan *plans[KEPT_STATEMENTS];
} KeptWork;

/*
 * Works on the waiting tables that are due. Returns true if any table waits. Call it outside of a
 * transaction.
 */
extern bool kept_round(KeptWork *work, ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_KEPT_H */
