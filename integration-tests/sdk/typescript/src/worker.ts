// SPDX-License-Identifier: Apache-2.0

import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { temporal } from '@temporalio/proto';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { activities, setEffects } from './activities';
import type { Options } from './main';

const AGAIN_MS = 500;
const READY_MS = 10_000; // a server that cannot tell its pollers does not hold READY up longer
const UNIMPLEMENTED = 12;

const identity = `typescript-worker@${hostname()}:${process.pid}`;

function warn(text: string, err: unknown): void {
  console.error(`${text}: ${(err as Error)?.message ?? err}`);
}

/**
 * Serves the task queue, and `<queue>-nocache` with the sticky cache switched off. Outlives the
 * server: connecting, and workers that gave up, are tried again until SIGTERM.
 */
export async function worker(o: Options): Promise<number> {
  setEffects(o.effects);
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('ERROR'),
    telemetryOptions: { logging: { forward: {}, filter: 'ERROR' } },
  });
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => stop.abort());
  }
  const connection = await connect(o, stop.signal);
  if (!connection) {
    return 0;
  }
  const queues = [o.queue, o.queue + '-nocache'];
  const serving = queues.map((queue, i) => serve(o, connection, queue, [1000, 0][i], stop.signal));
  void announce(o, connection, queues, stop.signal);
  await Promise.all(serving);
  await connection.close();
  return 0;
}

async function pause(ms: number, stop: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal: stop }).catch(() => undefined);
}

async function connect(o: Options, stop: AbortSignal): Promise<NativeConnection | undefined> {
  while (!stop.aborted) {
    try {
      return await NativeConnection.connect({ address: o.address });
    } catch (err) {
      warn('cannot connect, trying again', err);
      await pause(AGAIN_MS, stop);
    }
  }
  return undefined;
}

/** One worker until `stop`, made anew whenever it fails. */
async function serve(
  o: Options,
  connection: NativeConnection,
  queue: string,
  cached: number,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    try {
      const made = await Worker.create({
        connection,
        identity,
        namespace: o.namespace,
        taskQueue: queue,
        workflowBundle: { codePath: join(__dirname, 'workflow-bundle.js') },
        activities,
        maxCachedWorkflows: cached,
        maxConcurrentActivityTaskExecutions: 1000,
        // Every heartbeat goes out soon, so that scenarios can rely on the details.
        defaultHeartbeatThrottleInterval: 100,
        maxHeartbeatThrottleInterval: 100,
        shutdownGraceTime: 1000,
      });
      const end = (): void => made.shutdown();
      stop.addEventListener('abort', end);
      try {
        const running = made.run();
        if (stop.aborted) {
          end();
        }
        await running;
      } finally {
        stop.removeEventListener('abort', end);
      }
    } catch (err) {
      warn(`worker of ${queue} ended, starting anew`, err);
      await pause(AGAIN_MS, stop);
    }
  }
}

/** READY once the server names us as a poller of every queue, or cannot tell. */
async function announce(
  o: Options,
  connection: NativeConnection,
  queues: string[],
  stop: AbortSignal,
): Promise<void> {
  const { TASK_QUEUE_TYPE_WORKFLOW, TASK_QUEUE_TYPE_ACTIVITY } = temporal.api.enums.v1.TaskQueueType;
  let left = queues.flatMap((queue) =>
    [TASK_QUEUE_TYPE_WORKFLOW, TASK_QUEUE_TYPE_ACTIVITY].map((kind) => ({ queue, kind })),
  );
  const end = performance.now() + READY_MS;
  while (left.length > 0 && performance.now() < end && !stop.aborted) {
    const missing: typeof left = [];
    for (const at of left) {
      try {
        const answer = await connection.withDeadline(Date.now() + 2000, () =>
          connection.workflowService.describeTaskQueue({
            namespace: o.namespace,
            taskQueue: { name: at.queue },
            taskQueueType: at.kind,
          }),
        );
        if (!answer.pollers.some((poller) => poller.identity === identity)) {
          missing.push(at);
        }
      } catch (err) {
        if ((err as { code?: number }).code !== UNIMPLEMENTED) {
          missing.push(at);
        }
      }
    }
    left = missing;
    if (left.length > 0) {
      await pause(50, stop);
    }
  }
  console.log('READY');
}
