/*
 * target.h
 *		A local table that rows are written to (a table, or a leaf partition), with
 *		the executor's state kept from row to row and transaction to transaction.
 */
#ifndef REPLICATION_PLUGIN_TARGET_H
#define REPLICATION_PLUGIN_TARGET_H

#include "access/genam.h"
#include "access/skey.h"
#include "access/tupconvert.h"
#include "nodes/execnodes.h"

#include "catalog/as_owner.h"

typedef struct ApplyTarget
{
	Oid			relid;			/* hash key */
	bool		valid;			/* false: rebuild at the next opening */
	Relation	rel;			/* open in this transaction, else NULL */
	Oid			owner;			/* as whom its code runs */
	bool		runs_code;		/* writing rows can run functions of users (catalog/table_code.h) */
	uint64		used;			/* number of the transaction that last opened it */
	MemoryContext context;		/* of everything below */
	EState	   *estate;
	ResultRelInfo *rri;
	int			nindexes;
	Oid		   *index_oids;
	int			key_index;		/* place of the key's index among the indexes, -1: no key */
	int			nkeys;
	AttrNumber *key_attnums;	/* in key index order */
	ScanKeyData *skeys;
	IndexScanDesc scan;			/* on the key's index, in this transaction; NULL: none yet */
	TupleTableSlot *found;		/* row found by a search */
	/* where the last row without a key was found by reading the table */
	BlockNumber found_block;
	TupleTableSlot *newslot;	/* row to be written */
	TupleConversionMap *from_root;	/* NULL: same layout as the root, or is the root */
	TupleConversionMap *to_root;
} ApplyTarget;

/*
 * The target for a table, open in the running transaction. key_index: the table's
 * index that corresponds to the root's key, InvalidOid if it has none. root: NULL if
 * the table is no partition.
 */
extern ApplyTarget *target_get(Oid relid, Oid key_index, Relation root);

/* Becomes as whom its code runs; ended by as_owner_end(). */
extern OwnerContext target_become_owner(const ApplyTarget *t);

/* The target of a table, if it is open in the running transaction already; else NULL. */
extern ApplyTarget *target_open_already(Oid relid);

/*
 * Ends scans and closes relations, before commit. Of many targets, those that were not used for
 * long are forgotten.
 */
extern void target_close_all(void);

/* Forgets all targets, after an abort. */
extern void target_reset(void);

/* Index of rel that is (or, on a partition, is attached to) the root's key index. */
extern Oid	target_partition_index(Relation leaf, Oid root_index);

#endif							/* REPLICATION_PLUGIN_TARGET_H */
