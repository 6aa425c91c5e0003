// SPDX-License-Identifier: Apache-2.0

// The command line. Its contract is in ../README.md and the same in every language.

import { parseArgs } from 'node:util';

export interface Options {
  address: string;
  namespace: string;
  queue: string;
  effects?: string;
  count: number;
  seed: number;
  prefix: string;
  timeoutMs: number;
  journals: string[];
  only: string[];
  skip: string[];
  list: boolean;
  jobs: number;
  activityMs: number;
  heartbeatMs: number;
  timerMs: number;
  failures: number;
  backoffMs: number;
  approvals: number;
  rate: number;
  seconds?: number; // undefined: until SIGTERM
}

class Usage extends Error {}

function number(value: string | undefined, name: string): number {
  const n = Number(value);
  if (value === undefined || value === '' || !Number.isFinite(n)) {
    throw new Usage(`--${name} wants a number, not ${value}`);
  }
  return n;
}

const text = { type: 'string' } as const;

function parse(args: string[]): { command: string; name?: string; options: Options } {
  let parsed;
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: {
        address: { ...text, default: '127.0.0.1:7233' },
        namespace: { ...text, default: 'default' },
        'task-queue': { ...text, default: 'sdk-test' },
        effects: text,
        count: { ...text, default: '1' },
        seed: { ...text, default: '1' },
        'id-prefix': { ...text, default: '' },
        timeout: { ...text, default: '60' },
        journal: { ...text, multiple: true, default: [] as string[] },
        only: { ...text, default: '' },
        skip: { ...text, default: '' },
        list: { type: 'boolean', default: false },
        jobs: { ...text, default: '8' },
        'activity-ms': { ...text, default: '500' },
        'heartbeat-ms': { ...text, default: '5000' },
        'timer-ms': { ...text, default: '500' },
        failures: { ...text, default: '2' },
        'backoff-ms': { ...text, default: '200' },
        approvals: { ...text, default: '1' },
        rate: { ...text, default: '10' },
        for: text,
      },
    });
  } catch (err) {
    throw new Usage((err as Error).message);
  }
  const { values: v, positionals } = parsed;
  const [command, name, ...rest] = positionals;
  if ((command !== 'worker' && command !== 'client') || rest.length > 0) {
    throw new Usage('usage: sdk worker|client ...');
  }
  const names = (list: string): string[] => list.split(',').filter((item) => item !== '');
  const options: Options = {
    address: v.address!,
    namespace: v.namespace!,
    queue: v['task-queue']!,
    effects: v.effects,
    count: number(v.count, 'count'),
    seed: number(v.seed, 'seed'),
    prefix: v['id-prefix']!,
    timeoutMs: number(v.timeout, 'timeout') * 1000,
    journals: v.journal!,
    only: names(v.only!),
    skip: names(v.skip!),
    list: v.list!,
    jobs: number(v.jobs, 'jobs'),
    activityMs: number(v['activity-ms'], 'activity-ms'),
    heartbeatMs: number(v['heartbeat-ms'], 'heartbeat-ms'),
    timerMs: number(v['timer-ms'], 'timer-ms'),
    failures: number(v.failures, 'failures'),
    backoffMs: number(v['backoff-ms'], 'backoff-ms'),
    approvals: number(v.approvals, 'approvals'),
    rate: number(v.rate, 'rate'),
    seconds: v.for === undefined ? undefined : number(v.for, 'for'),
  };
  return { command, name, options };
}

async function main(): Promise<number> {
  const { command, name, options } = parse(process.argv.slice(2));
  if (command === 'worker') {
    return await (await import('./worker')).worker(options);
  }
  if (name !== 'features' && options.prefix === '') {
    throw new Usage(`${name} needs --id-prefix`);
  }
  if ((name === 'signal' || name === 'load') && options.journals.length !== 1) {
    throw new Usage(`${name} needs one --journal`);
  }
  switch (name) {
    case 'features':
      return await (await import('./features')).features(options);
    case 'start':
      return await (await import('./orders')).start(options);
    case 'signal':
      return await (await import('./orders')).signal(options);
    case 'finish':
      return await (await import('./orders')).finish(options);
    case 'load':
      return await (await import('./load')).load(options);
    case 'verify':
      return await (await import('./load')).verify(options);
    default:
      throw new Usage(`no such case: ${name}`);
  }
}

main().then(
  (status) => process.exit(status),
  (err) => {
    console.error('sdk:', err instanceof Usage ? err.message : err);
    process.exit(err instanceof Usage ? 2 : 1);
  },
);
