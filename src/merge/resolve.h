/*
 * resolve.h
 *		Determines the row that a set of siblings shows. The result depends only on the set and
 *		the
 *		table's policy.
 */
#ifndef REPLICATION_PLUGIN_RESOLVE_H
#define REPLICATION_PLUGIN_RESOLVE_H

#include "catalog/as_owner.h"
#include "store/row_state.h"

/* The result of a resolution. */
typedef struct Shown
{
	int			index;			/* the sibling that shows; -1: made by the handler, or nothing */
	/* why the handler's, or the merged, row could not be used; else NULL */
	char	   *failure;
} Shown;

struct MergedColumns;

/*
 * Stores the row that the set shows in a virtual slot of the table. Returns false if no row is
 * shown, because the sibling that counts is a delete. All siblings get the values of merged
 * columns. May run the handler, as the table's owner in a subtransaction.
 */
extern bool resolve_row(Relation rel, const TablePolicy *policy, RowCodec *codec,
						const SiblingSet *set, const struct MergedColumns *merged,
						TupleTableSlot *slot, Shown *shown);

/* Raises an error, which gives the reason, unless a function can be a table's handler. */
extern void resolve_check_handler(Relation rel, Oid function);

/*
 * Becomes the table's owner, in a restricted context even if the current user is the owner.
 * with_handler: sets settings that are the same on all nodes and in all sessions, because a handler
 * must have the same result for the same rows; names are resolved in the table's schema.
 * as_owner_end() ends it.
 */
extern OwnerContext resolve_as_owner(Relation rel, bool with_handler);

/*
 * Runs a handler on two rows, under the caller's settings, and stores the result in the slot.
 * Raises the errors of the handler.
 */
extern void resolve_call_handler(Relation rel, Oid function, TupleTableSlot *older,
								 TupleTableSlot *newer, TupleTableSlot *result);

#endif							/* REPLICATION_PLUGIN_RESOLVE_H */
