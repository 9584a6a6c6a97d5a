/*
 * merge_parts.h
 *		Runs of increments of counters: what they mean is told in merge_counter.c.
 *
 *	parts	count n; n times: node, version, count of increments, total; of entries also: version of the last, u8 closed
 */
#ifndef REPLICATION_PLUGIN_MERGE_PARTS_H
#define REPLICATION_PLUGIN_MERGE_PARTS_H

#include "model/merge_bytes.h"

/* An entry, or what a base has seen of one. */
typedef struct MergePart
{
	NodeId		node;
	Version		born;
	uint64		seq;			/* increments */
	Numeric		total;
	/* entries only */
	Version		last;			/* of the last increment */
	bool		closed;			/* its node adds to it no more; told by that node's own state */
} MergePart;

typedef struct MergeParts
{
	int			n;
	MergePart  *list;
} MergeParts;

/* Returns a node's entry, or what was seen of it; or NULL. */
extern MergePart *merge_parts_find(const MergeParts *p, NodeId node, Version born);

/* Adds a part; returns it. */
extern MergePart *merge_parts_append(MergeParts *p, MergePart part);

/* entries: with what is known of entries only. */
extern void merge_parts_write(MergeWriter *w, const MergeParts *p, bool entries);
extern void merge_parts_read(MergeReader *r, MergeParts *p, bool entries);

#endif							/* REPLICATION_PLUGIN_MERGE_PARTS_H */
