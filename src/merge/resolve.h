/*
 * resolve.h
 *		Which row a set of siblings shows: a function of the set and the table's policy, of nothing
 *		else.
 */
#ifndef REPLICATION_PLUGIN_RESOLVE_H
#define REPLICATION_PLUGIN_RESOLVE_H

#include "catalog/as_owner.h"
#include "store/row_state.h"

/* What a set shows. */
typedef struct Shown
{
	int			index;			/* the sibling that it is; -1: made by the handler, or nothing */
	char	   *failure;		/* why the handler's result could not be taken; NULL if it could */
} Shown;

struct MergedColumns;

/*
 * Fills the slot (a virtual one of the table) with the row that the set shows. Returns false if
 * that is none: the one that counts is a delete. All siblings have the values of merged columns.
 * May run the handler, as the table's owner in a subtransaction.
 */
extern bool resolve_row(Relation rel, const TablePolicy *policy, RowCodec *codec, const SiblingSet *set,
						const struct MergedColumns *merged, TupleTableSlot *slot, Shown *shown);

/* Checks that a function can be a table's handler; an error with a reason if not. */
extern void resolve_check_handler(Relation rel, Oid function);

/*
 * Becomes the table's owner, in a restricted context also where that is who runs this.
 * with_handler: under settings that are the same on all nodes and in all sessions, as what a
 * handler makes of the same rows must be the same; names mean what they mean in the table's schema.
 * Ends with as_owner_end().
 */
extern OwnerContext resolve_as_owner(Relation rel, bool with_handler);

/*
 * Runs a handler on two rows, under the caller's settings; raises what it raises. The result goes
 * into the slot.
 */
extern void resolve_call_handler(Relation rel, Oid function, TupleTableSlot *older, TupleTableSlot *newer,
								 TupleTableSlot *result);

#endif							/* REPLICATION_PLUGIN_RESOLVE_H */
