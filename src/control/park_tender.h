/*
 * park_tender.h
 *		When parked rows are looked at.
 */
#ifndef REPLICATION_PLUGIN_PARK_TENDER_H
#define REPLICATION_PLUGIN_PARK_TENDER_H

/*
 * Has parked rows come back whose place may be free. Called in each round of the group worker. Returns whether it has just looked at all of
 * them: what tells that a parked row is over, a tombstone, may be forgotten then.
 */
extern bool tend_parked_rows(void);

#endif							/* REPLICATION_PLUGIN_PARK_TENDER_H */
