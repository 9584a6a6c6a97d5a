/*
 * target.h
 *		Local tables to which rows are written (tables, or leaf partitions), with executor state
 *		that is cached across rows and transactions.
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
	bool		valid;			/* false: rebuild when it is next opened */
	Relation	rel;			/* open in this transaction, else NULL */
	Oid			owner;			/* the user as whom the table's code runs */
	bool		runs_code;		/* writing rows can run functions of users (catalog/table_code.h) */
	uint64		used;			/* number of the last transaction that opened it */
	MemoryContext context;		/* of everything below */
	EState	   *estate;
	ResultRelInfo *rri;
	int			nindexes;
	Oid		   *index_oids;
	int			key_index;		/* position of the key's index among the indexes; -1: no key */
	int			nkeys;
	AttrNumber *key_attnums;	/* in key index order */
	ScanKeyData *skeys;
	IndexScanDesc scan;			/* on the key's index, in this transaction; NULL: none yet */
	TupleTableSlot *found;		/* the row that a search has found */
	/* block of the last row without a key that was found by reading the table */
	BlockNumber found_block;
	TupleTableSlot *newslot;	/* the row to be written */
	TupleConversionMap *from_root;	/* NULL: same layout as the root, or is the root */
	TupleConversionMap *to_root;
} ApplyTarget;

/*
 * Returns the target of a table, open in the running transaction. key_index: the table's index that
 * corresponds to the root's key, or InvalidOid if it has none. root: NULL if the table is not a
 * partition.
 */
extern ApplyTarget *target_get(Oid relid, Oid key_index, Relation root);

/* Becomes the user as whom the table's code runs; as_owner_end() ends this. */
extern OwnerContext target_become_owner(const ApplyTarget *t);

/* Returns the target of a table if it is open in the running transaction, else NULL. */
extern ApplyTarget *target_open_already(Oid relid);

/*
 * Ends scans and closes relations. Call it before commit. If there are many targets, discards those
 * that have not been used for long.
 */
extern void target_close_all(void);

/* Discards all targets, after an abort. */
extern void target_reset(void);

/* Hook function for changes of tables (replication_plugin.c). */
extern void target_table_changed(Oid relid);

/* Returns the index of leaf that is (or, on a partition, is attached to) the root's key index. */
extern Oid	target_partition_index(Relation leaf, Oid root_index);

#endif							/* REPLICATION_PLUGIN_TARGET_H */
