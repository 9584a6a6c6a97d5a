/*
 * scout.h
 *		Reads a transaction without applying it: which tables it is of.
 */
#ifndef REPLICATION_PLUGIN_APPLY_SCOUT_H
#define REPLICATION_PLUGIN_APPLY_SCOUT_H

#include "nodes/pg_list.h"

#include "apply/apply.h"

/* A transaction begins. */
extern void scout_begin(ApplyContext *cx);

/* Reads one row message. */
extern void scout_message(ApplyContext *cx, WireReader *r, WireMessage type);

/*
 * The tables of which rows have come since (of LostTable *), also those of kept changes. Good until
 * the next scout_begin().
 */
extern List *scout_tables(ApplyContext *cx);

#endif							/* REPLICATION_PLUGIN_APPLY_SCOUT_H */
