/*
 * change_name.h
 *		Describes the row and table of a decoding error, for the error context.
 */
#ifndef REPLICATION_PLUGIN_CHANGE_NAME_H
#define REPLICATION_PLUGIN_CHANGE_NAME_H

#include "access/attnum.h"
#include "replication/reorderbuffer.h"
#include "utils/relcache.h"

/*
 * Sets the context of an error: "row (id=7) of table "public.t"", and then "follows". Error
 * callbacks call it, so it reads no catalog.
 */
extern void change_name_context(Relation rel, const ReorderBufferChange *change,
								const AttrNumber *key, int nkeys, const char *follows);

#endif							/* REPLICATION_PLUGIN_CHANGE_NAME_H */
