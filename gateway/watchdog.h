/* watchdog - tell systemd that every loop still turns (WatchdogSec=).
 * Thread: main.  Nothing happens unless WATCHDOG_USEC asks for it. */
#ifndef GATEWAY_WATCHDOG_H
#define GATEWAY_WATCHDOG_H
struct gw;
void gw_watchdog_start(struct gw *gw);
void gw_watchdog_stop(struct gw *gw);
#endif
