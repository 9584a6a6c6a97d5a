/*
 * merge_parts.h
 *		Runs of increments of counters. Their meaning is described in merge_counter.c.
 *
 *	parts	count n; n times: node, version, count of increments, total;
 *			of entries also: version of the last, u8 closed
 */
#ifndef REPLICATION_PLUGIN_MERGE_PARTS_H
#define REPLICATION_PLUGIN_MERGE_PARTS_H

#include "model/merge_bytes.h"

/* An entry, or the part of one that a base has seen. */
typedef struct MergePart
{
	NodeId		node;
	Version		born;
	uint64		seq;			/* number of increments */
	Numeric		total;
	/* the following for entries only */
	Version		last;			/* of the last increment */
	bool		closed;			/* its node adds to it no more; set in that node's own state */
} MergePart;

typedef struct MergeParts
{
	int			n;
	MergePart  *list;
} MergeParts;

/* Returns a node's entry, or the part of it that was seen; NULL if there is none. */
extern MergePart *merge_parts_find(const MergeParts *p, NodeId node, Version born);

/* Appends a part and returns it. */
extern MergePart *merge_parts_append(MergeParts *p, MergePart part);

/* Write and read parts. entries: with the fields of entries. */
extern void merge_parts_write(MergeWriter *w, const MergeParts *p, bool entries);
extern void merge_parts_read(MergeReader *r, MergeParts *p, bool entries);

#endif							/* REPLICATION_PLUGIN_MERGE_PARTS_H */
