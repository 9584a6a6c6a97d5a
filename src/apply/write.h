/*
 * write.h
 *		Writes one local row: heap, indexes, constraints, triggers.
 */
#ifndef REPLICATION_PLUGIN_APPLY_WRITE_H
#define REPLICATION_PLUGIN_APPLY_WRITE_H

#include "apply/relation.h"
#include "catalog/as_owner.h"

/*
 * become_owner() switches to the table's owner; become_worker() switches back. After an error, the
 * abort of the transaction switches back.
 */
extern OwnerContext become_owner(ApplyRelation *ar);
extern void become_worker(OwnerContext saved);

typedef enum WriteResult
{
	WRITE_DONE,
	WRITE_AGAIN					/* another transaction changed the row first: search again */
} WriteResult;

/* Computes the stored generated columns of a row, which a look for conflicting rows needs, too. */
extern void write_generate(ApplyTarget *t, TupleTableSlot *slot);

/* Inserts a row. Raises a unique violation like any insert. */
extern void write_insert(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot);

/* Replace, or delete, the found row. write_update() uses t->found. */
extern WriteResult write_update(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot *slot);
extern WriteResult write_delete(ApplyRelation *ar, ApplyTarget *t, ItemPointer tid);

/* Returns true if rows can be inserted in batches, because nothing has to run per row. */
extern bool write_can_gather(ApplyTarget *t);

/* Inserts many rows of one target. */
extern void write_insert_many(ApplyRelation *ar, ApplyTarget *t, TupleTableSlot **slots, int n);

#endif							/* REPLICATION_PLUGIN_APPLY_WRITE_H */
