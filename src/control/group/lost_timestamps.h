/*
 * lost_timestamps.h
 *		Whether commit timestamps, the versions of rows, are gone that can still be needed.
 */
#ifndef REPLICATION_PLUGIN_LOST_TIMESTAMPS_H
#define REPLICATION_PLUGIN_LOST_TIMESTAMPS_H

/* What is shown of a node that has lost some. */
#define TIMESTAMPS_LOST \
	"commit timestamps of rows that not all members have yet are lost, as the server ran without track_commit_timestamp"

/* Returns true if some are. Transactions of its own; not inside one. */
extern bool timestamps_are_lost(void);

#endif							/* REPLICATION_PLUGIN_LOST_TIMESTAMPS_H */
