/*
 * kept.h
 *		Applies the kept changes of tables that wait.
 */
#ifndef REPLICATION_PLUGIN_KEPT_H
#define REPLICATION_PLUGIN_KEPT_H

#include "apply/apply.h"

/*
 * Works on the waiting tables that are due. Returns true if any table waits. Call it outside of a
 * transaction.
 */
extern bool kept_round(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_KEPT_H */
