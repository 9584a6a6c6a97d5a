/*
 * change_name.h
 *		Which row of which table an error in decoding is about, for its context.
 */
#ifndef REPLICATION_PLUGIN_CHANGE_NAME_H
#define REPLICATION_PLUGIN_CHANGE_NAME_H

#include "access/attnum.h"
#include "replication/reorderbuffer.h"
#include "utils/relcache.h"

/*
 * Sets an error's context: "row (id=7) of table "public.t"", and what follows. Called by error
 * callbacks: reads no catalog.
 */
extern void change_name_context(Relation rel, const ReorderBufferChange *change, const AttrNumber *key, int nkeys, const char *follows);

#endif							/* REPLICATION_PLUGIN_CHANGE_NAME_H */
