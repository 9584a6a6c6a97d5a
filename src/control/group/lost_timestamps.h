/*
 * lost_timestamps.h
 *		Checks whether commit timestamps are lost that are still needed as versions of rows.
 */
#ifndef REPLICATION_PLUGIN_LOST_TIMESTAMPS_H
#define REPLICATION_PLUGIN_LOST_TIMESTAMPS_H

/* The error that is shown for a node that has lost some. */
#define TIMESTAMPS_LOST \
	"commit timestamps of rows that not all members have yet are lost, as the server ran without track_commit_timestamp, or was upgraded by pg_upgrade"

/* Returns true if some are lost. Runs transactions of its own; call it outside of a transaction. */
extern bool timestamps_are_lost(void);

#endif							/* REPLICATION_PLUGIN_LOST_TIMESTAMPS_H */
