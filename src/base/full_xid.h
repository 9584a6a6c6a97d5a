/*
 * full_xid.h
 *		Transaction numbers with their epoch.
 */
#ifndef REPLICATION_PLUGIN_FULL_XID_H
#define REPLICATION_PLUGIN_FULL_XID_H

/*
 * Returns the number with epoch of a past transaction, which must be among the last 2^32; 0 for a
 * frozen one.
 */
extern uint64 full_xid_of(TransactionId xid);

#endif							/* REPLICATION_PLUGIN_FULL_XID_H */
