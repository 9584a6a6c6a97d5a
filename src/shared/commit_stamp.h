/*
 * commit_stamp.h
 *		Gives local commits timestamps of the hybrid logical clock.
 */
#ifndef REPLICATION_PLUGIN_COMMIT_STAMP_H
#define REPLICATION_PLUGIN_COMMIT_STAMP_H

/* Once, when the library is loaded with the server. */
extern void commit_stamp_install(void);

#endif							/* REPLICATION_PLUGIN_COMMIT_STAMP_H */
