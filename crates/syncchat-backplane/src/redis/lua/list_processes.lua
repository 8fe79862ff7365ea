-- Processes that are not buried (ARGV[1] = 'unburied'), or those of them whose lease has ended
-- ('dead'), by this server's clock; or those that were buried of late ('buried').
--   KEYS[1]  as in renew_lease.lua
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[1] == 'buried' then
  return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(0')
end
if ARGV[1] == 'unburied' then
  return redis.call('ZRANGEBYSCORE', KEYS[1], 0, '+inf')
end
return redis.call('ZRANGEBYSCORE', KEYS[1], 0, now)
