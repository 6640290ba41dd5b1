// SPDX-License-Identifier: Apache-2.0
/*
 * The schemas that the route tables name, as one table; ' stands for ". What berth answers is
 * described whole, what it takes is described as far as it looks at it.
 */
#include "api/api_int.h"

#define STR       "{'type':'string'}"
#define INT       "{'type':'integer'}"
#define BOOL      "{'type':'boolean'}"
#define NUM       "{'type':'number'}"
#define STR_NULL  "{'type':['string','null']}"
#define INT_NULL  "{'type':['integer','null']}"
#define NUM_NULL  "{'type':['number','null']}"
#define TIME      "{'type':'string','format':'date-time'}"
#define TIME_NULL "{'type':['string','null'],'format':'date-time'}"
#define INTS      "{'type':'array','items':{'type':'integer'}}"
#define STRS      "{'type':'array','items':{'type':'string'}}"
#define OBJECT    "{'type':'object'}"
#define PLACE                                                                                      \
    "{'type':['object','null'],'properties':{'devices':{'type':'array','items':{'type':'object',"  \
    "'properties':{'device':" INT ",'memory':" INT "}}},'host_memory':" INT "}}"

#define TASK_FIELDS                                                                                \
    "'id':" INT ",'model_id':" INT ",'model_name':" STR_NULL ",'type':" STR                        \
    ",'status':{'type':'string','enum':['pending','running','completed','failed','cancelled']},"   \
    "'priority':" INT ",'retry_count':" INT ",'max_retries':" INT ",'error_message':" STR_NULL     \
    ",'dead_letter':" BOOL ",'instance':" STR_NULL ",'started_at':" TIME_NULL                      \
    ",'completed_at':" TIME_NULL ",'created_at':" TIME ",'updated_at':" TIME                       \
    ",'run_at':" TIME_NULL
/* Of a task with its bodies; an input that was an object is its text. */
#define TASK_BODIES ",'input':" STR ",'output':" STR_NULL
#define TASK_REQUIRED                                                                              \
    "'required':['id','model_id','type','input','output','status','priority','retry_count',"       \
    "'max_retries','error_message','started_at','completed_at','created_at','updated_at']"
#define ANSWER(data)                                                                               \
    "{'type':'object','required':['code','message','data'],'properties':{'code':{'const':0},"      \
    "'message':" STR ",'data':" data "}}"
#define A(name)       "{'$ref':'#/components/schemas/" name "'}"
#define LIST_OF(name) "{'type':'array','items':" A(name) "}"
#define TASK_COUNTERS                                                                              \
    "'total_tasks':" INT ",'pending_tasks':" INT ",'running_tasks':" INT ",'completed_tasks':" INT \
    ",'failed_tasks':" INT ",'cancelled_tasks':" INT ",'success_rate':" NUM                        \
    ",'avg_processing_ms':" NUM
#define TASK_COUNTERS_REQUIRED                                                                     \
    "'total_tasks','pending_tasks','running_tasks','completed_tasks','failed_tasks',"              \
    "'success_rate','avg_processing_ms'"
#define TASK_MODEL_FIELDS                                                                          \
    "'id':" INT ",'name':" STR ",'type':{'type':'string','enum':['openai','local','custom']},"     \
    "'config':" OBJECT ",'status':{'type':'string','enum':['online','offline','maintenance']},"    \
    "'max_workers':" INT ",'current_workers':" INT ",'total_requests':" INT                        \
    ",'success_requests':" INT ",'created_at':" TIME_NULL ",'updated_at':" TIME_NULL
#define TASK_MODEL_REQUIRED                                                                        \
    "'id','name','type','config','status','max_workers','current_workers','total_requests',"       \
    "'success_requests','created_at','updated_at'"
#define TASK_MODEL_WORDS                                                                           \
    "'name':" STR ",'type':{'type':'string','enum':['openai','local','custom']},'config':" OBJECT  \
    ",'status':{'type':'string','enum':['online','offline','maintenance']},"                       \
    "'max_workers':{'type':'integer','minimum':1,'maximum':1000}"
#define DURATION                                                                                   \
    "{'type':['number','string','null'],'description':'Seconds, or a duration such as 5m.'}"

// clang-format off
#define MODEL_CONFIG_FIELDS \
"'id':{'type':'string','minLength':1,'maxLength':255},'name':{'type':'string','minLength':1,'maxLength':255}," \
"'framework':" STR ",'model_path':{'type':'string','minLength':1},'priority':{'type':'integer','minimum':1,'maximum':10}," \
"'gpu_devices':" INTS ",'additional_parameters':" STR_NULL ",'parameters':" OBJECT ",'autostart':" BOOL "," \
"'pinned':" BOOL ",'on_demand':" BOOL ",'replicas':{'type':'integer','minimum':1,'maximum':32}," \
"'aliases':{'type':'array','maxItems':32,'items':{'type':'string','minLength':1,'maxLength':255}}," \
"'keep_alive':{'type':['integer','number','string','null'],'description':'Seconds, a duration such as 5m, or negative: for ever. How long the model stays after its last request.'}," \
"'resource_requirements':{'type':'object','required':['gpu_memory'],'properties':{'gpu_memory':{'anyOf':[" INT ",{'type':'string','enum':['auto']}]," \
"'description':'MB that it needs; auto: what its files and parameters let expect.'},'gpu_devices':" INTS "," \
"'cpu_cores':" INT_NULL ",'system_memory':" INT_NULL "}}," \
"'health_check':{'type':'object','properties':{'enabled':" BOOL ",'interval':" INT ",'timeout':" INT ",'max_failures':" INT "," \
"'endpoint':" STR_NULL "}}," \
"'retry_policy':{'type':'object','properties':{'enabled':" BOOL ",'max_attempts':" INT ",'initial_delay':" NUM "," \
"'max_delay':" NUM ",'backoff_factor':" NUM "}},'task_status':{'type':['string','null'],'enum':['online','offline','maintenance',null]},'max_workers':{'type':['integer','null'],'minimum':0,'maximum':1000},'strategy':" STR_NULL ",'type':{'type':['string','null'],'enum':['openai','local','custom',null]}," \
"'created_at':" TIME_NULL ",'updated_at':" TIME_NULL

const struct schema api_schemas[] = {
    { "Any", OBJECT },
    { "ErrorDetail",
      "{'type':'object','required':['detail'],'properties':{'detail':{'oneOf':[" STR ",{'type':'array','items':{'type':'object',"
      "'properties':{'loc':{'type':'array','items':{'type':['string','integer']}},'msg':" STR ",'type':" STR "}}}]}}}" },
    { "ErrorOpenAI",
      "{'type':'object','required':['error'],'properties':{'error':{'type':'object','required':['message','type'],"
      "'properties':{'message':" STR ",'type':" STR ",'param':" STR_NULL ",'code':{'type':['string','integer','null']}}}}}" },
    { "ErrorAnthropic",
      "{'type':'object','required':['type','error'],'properties':{'type':{'const':'error'},'error':{'type':'object',"
      "'required':['type','message'],'properties':{'type':" STR ",'message':" STR "}}}}" },
    { "ErrorOllama", "{'type':'object','required':['error'],'properties':{'error':" STR "}}" },
    { "ErrorProxy",
      "{'type':'object','required':['error','model_id','path','timestamp'],'properties':{'error':" STR ",'model_id':" STR ",'path':" STR ","
      "'timestamp':" TIME "}}" },
    { "ErrorEnvelope",
      "{'type':'object','required':['code','message'],'properties':{'code':" INT ",'message':" STR "}}" },
    { "TaskInstanceRegister",
      "{'type':'object','required':['host','port'],'properties':{'host':" STR ",'port':{'type':'integer','minimum':1,'maximum':65535},'model_name':" STR "}}" },
    { "TaskInstanceRemove",
      "{'type':'object','properties':{'ti_uuid':" STR ",'host':" STR ",'port':" INT ",'drain':{'type':'boolean','description':'It gets no new tasks, and goes when it has ended what it has.'}}}" },
    { "TaskInstanceAnswer",
      "{'type':'object','required':['status','message','ti_uuid'],'properties':{'status':{'type':'string','enum':['success','error']},'message':" STR ",'ti_uuid':" STR "}}" },
    { "TaskInstanceSubmit",
      "{'type':'object','required':['model_name','task_input'],'properties':{'model_name':" STR ",'task_input':" OBJECT ",'metadata':" OBJECT ","
      "'task_id':{'type':'string','minLength':1,'maxLength':36}}}" },
    { "TaskInstanceSubmitted",
      "{'type':'object','required':['status','task_id','scheduled_ti'],'properties':{'status':" STR ",'task_id':" STR ",'scheduled_ti':" STR "}}" },
    { "TaskInstanceBatch",
      "{'type':'object','required':['model_name','tasks'],'properties':{'model_name':" STR ",'tasks':{'type':'array','maxItems':1000,'items':" OBJECT "}}}" },
    { "TaskInstanceStrategy", "{'type':'object','required':['name'],'properties':{'name':" STR "}}" },
    { "TaskInstance",
      "{'type':'object','required':['uuid','url','instance_id','model_type','replicas','queue_size','status','error','generation','in_flight','chosen','completed','failed','waiting_time_expect','waiting_time_error'],"
      "'properties':{'uuid':" STR ",'url':" STR ",'instance_id':" STR_NULL ",'model_type':" STR_NULL ",'replicas':" INT ",'queue_size':" INT ",'status':{'type':'string','enum':['unreachable','ready','draining']},"
      "'error':" STR_NULL ",'generation':" INT ",'in_flight':" INT ",'chosen':" INT ",'completed':" INT ",'failed':" INT ",'waiting_time_expect':{'type':'number','description':'ms'},'waiting_time_error':{'type':'number','description':'ms'}}}" },
    { "TaskInstancesInfo",
      "{'type':'object','required':['total_instances','strategy','instances','capacity_by_type'],'properties':{'total_instances':" INT ",'strategy':" STR ",'instances':" LIST_OF("TaskInstance") ","
      "'capacity_by_type':{'type':'object','additionalProperties':" INT "}}}" },
    { "TaskInstanceQueues",
      "{'type':'object','required':['status','queues'],'properties':{'status':" STR ",'queues':{'type':'array','items':{'type':'object','required':['model_name','ti_uuid','waiting_time_expect','waiting_time_error'],"
      "'properties':{'model_name':" STR ",'ti_uuid':" STR ",'waiting_time_expect':" NUM ",'waiting_time_error':" NUM "}}}}}" },
    { "TaskInstanceTiming",
      "{'type':'object','required':['total_tasks','avg_total_time_ms','avg_execution_time_ms','avg_overhead_ms'],'properties':{'total_tasks':" INT ",'avg_total_time_ms':" NUM ",'avg_execution_time_ms':" NUM ",'avg_overhead_ms':" NUM ",'min_total_time_ms':" NUM ",'max_total_time_ms':" NUM "}}" },
    { "TaskInstanceStats",
      "{'allOf':[" A("TaskInstanceTiming") ",{'type':'object','required':['recent_tasks','strategy','strategies'],'properties':{'recent_tasks':{'type':'array','items':{'type':'object',"
      "'required':['task_id','total_time_ms','execution_time_ms','overhead_ms'],'properties':{'task_id':" STR ",'total_time_ms':" NUM ",'execution_time_ms':" NUM ",'overhead_ms':" NUM "}}},"
      "'strategy':" STR ",'strategies':{'type':'object','additionalProperties':" A("TaskInstanceTiming") "}}}]}" },
    { "StatusMessage", "{'type':'object','required':['status','message'],'properties':{'status':" STR ",'message':" STR "}}" },
    { "TaskInstanceTaskId", "{'type':'object','required':['task_id'],'properties':{'task_id':" STR "}}" },
    { "TaskInstanceTask",
      "{'type':'object','required':['task_id','task_status','scheduled_ti','submit_time','result'],'properties':{'task_id':" STR ","
      "'task_status':{'type':'string','enum':['queued','scheduled','completed','failed','cancelled']},'scheduled_ti':" STR ",'submit_time':" NUM ",'result':{},'error':" STR "}}" },
    { "TaskInstanceResult",
      "{'type':'object','required':['task_id','instance_id','execution_time'],'properties':{'task_id':" STR ",'instance_id':" STR ",'execution_time':{'type':'number','minimum':0,'description':'ms'},"
      "'result':{},'status':" STR ",'error':" STR_NULL "}}" },
    { "Done",
      "{'type':'object','required':['success','message','model_id'],"
      "'properties':{'success':" BOOL ",'message':" STR ",'model_id':" STR "}}" },
    { "ModelConfig",
      "{'type':'object','required':['id','name','framework','model_path','priority','resource_requirements'],'properties':{" MODEL_CONFIG_FIELDS "}}" },
    { "ModelConfigEdit",
      "{'type':'object','description':'Any members of a ModelConfig.','properties':{" MODEL_CONFIG_FIELDS "}}" },
    { "ModelInfo",
      "{'type':'object','required':['id','name','framework','model_path','status','priority','gpu_devices'],'properties':{"
      "'id':" STR ",'name':" STR ",'framework':" STR ",'model_path':" STR ","
      "'status':{'type':'string','enum':['stopped','queued','starting','running','error','stopping','preempted']},"
      "'priority':" INT ",'gpu_devices':" INTS ",'memory_usage':" INT_NULL ",'api_endpoint':" STR_NULL ",'uptime':" NUM_NULL ","
      "'last_health_check':" TIME_NULL ",'replicas':" INT ",'aliases':" STRS ",'task_status':{'type':'string','enum':['online','offline','maintenance']},"
      "'pinned':" BOOL ",'origin':{'type':'string','enum':['api','config'],'description':'config: it stands in the config file and is changed there.'}}}" },
    { "ModelInfoList", "{'type':'array','items':{'$ref':'#/components/schemas/ModelInfo'}}" },
    { "ModelStatus",
      "{'type':'object','required':['model_id','status','health'],'properties':{'model_id':" STR ","
      "'status':{'type':'string','enum':['stopped','queued','starting','running','error','stopping','preempted']},"
      "'health':{'type':'string','enum':['healthy','unhealthy','unknown']},'timestamp':" TIME_NULL "}}" },
    { "ModelHealth",
      "{'type':'object','required':['model_id','health_status'],'properties':{'model_id':" STR ","
      "'health_status':{'type':'string','enum':['healthy','unhealthy','unknown']},'health_result':{'type':['object','null']},"
      "'timestamp':" TIME_NULL "}}" },
    { "HealthCheck",
      "{'type':'object','required':['success','message','model_id'],'properties':{'success':" BOOL ",'message':" STR ","
      "'model_id':" STR ",'health_result':{'type':['object','null']}}}" },
    { "ValidationResult",
      "{'type':'object','required':['is_valid','errors','warnings','estimate','estimate_reason'],"
      "'properties':{'is_valid':" BOOL ",'errors':" STRS ",'warnings':" STRS ","
      "'estimate':{'anyOf':[" A("MemoryEstimate") ",{'type':'null'}]},'estimate_reason':{'type':['string','null'],'description':'Why there is none, or what of it is not known.'}}}" },
    { "MemoryEstimate",
      "{'type':'object','required':['source','sentence','total_bytes','weight_bytes','kv_bytes','compute_bytes','runtime_bytes','host_bytes','estimated_bytes','measured_bytes','shares','fits'],"
      "'properties':{'source':{'type':'string','enum':['declared','estimated','measured']},'sentence':" STR ",'total_bytes':{'type':'integer','description':'Of one instance.'},"
      "'weight_bytes':{'type':'integer','description':'0 where it is not known; so are the next three.'},'kv_bytes':" INT ",'compute_bytes':" INT ",'runtime_bytes':" INT ",'host_bytes':" INT ","
      "'estimated_bytes':" INT ",'measured_bytes':" INT ",'shares':{'type':'array','items':{'type':'object','required':['devices','bytes_each'],"
      "'properties':{'devices':" INT ",'bytes_each':" INT "}}},'fits':{'type':'string','enum':['now','when_room_is_made','never'],"
      "'description':'By the room that the allowed devices have now, or would have if all others left.'}}}" },
    { "Instance",
      "{'type':'object','required':['model','id','state','replica','remote','pid','start_time'],'properties':{'model':" STR_NULL ",'id':" STR ","
      "'state':{'type':'string','enum':['waiting','starting','ready','draining','stopping','backoff','failed']},'replica':" INT ",'remote':" BOOL ",'sleeping':" BOOL ",'weight':" INT ",'pid':" INT_NULL ",'start_time':" INT_NULL ","
      "'socket':" STR_NULL ",'address':" STR ",'log':" STR_NULL ",'slots':" INT ",'restarts':" INT ",'adopted':" BOOL ","
      "'last_error':" STR_NULL ",'ready_in_ms':" INT ",'uptime':" NUM_NULL ",'in_flight':" INT ",'waiting':" INT ","
      "'breaker':{'enum':['closed','open','half_open',null]},'requests':" INT_NULL ",'errors':" INT_NULL ","
      "'consecutive_failures':" INT_NULL ",'response_ms':" INT_NULL ",'expires_at':" TIME_NULL ",'place':" PLACE ",'memory_taken':" PLACE ","
      "'displaced':{'type':'boolean','description':'It was, or is being, moved aside for another one.'},"
      "'predicted':{'type':['object','null'],'description':'Of a request with so many prompt tokens that came now: how long until it begins, and "
      "how long it then takes; nine of ten take between low_ms and high_ms. learnt_from: requests of this instance; 0: by those of others.',"
      "'properties':{'prompt_tokens':" INT ",'wait_ms':" NUM ",'wait_error_ms':" NUM ",'prefill_ms':" NUM ",'decode_ms':" NUM ","
      "'low_ms':" NUM ",'high_ms':" NUM ",'output_tokens':" NUM ",'ms_per_output_token':" NUM ",'learnt_from':" INT "}}}}" },
    { "InstanceList",
      "{'type':'object','required':['instances','total_count'],'properties':{'instances':{'type':'array','items':{'$ref':'#/components/schemas/Instance'}},'total_count':" INT "}}" },
    { "ProxyTarget",
      "{'type':'object','required':['model_id','endpoint','framework','priority','weight','active'],'properties':{'model_id':" STR ","
      "'endpoint':" STR ",'framework':" STR ",'priority':" INT ",'weight':" INT ",'active':{'type':'boolean',"
      "'description':'It is ready and its breaker is not open.'},'last_health_check':" TIME_NULL ",'consecutive_failures':" INT ","
      "'total_requests':" INT ",'total_response_time':" INT ",'error_count':" INT ",'average_response_time':{'type':'number',"
      "'description':'Milliseconds, a moving average.'}}}" },
    { "ProxyTargetList", "{'type':'array','items':{'$ref':'#/components/schemas/ProxyTarget'}}" },
    { "ProxyTargets",
      "{'type':'object','required':['targets','total_models','timestamp'],'properties':{'targets':{'type':'object','additionalProperties':"
      "{'$ref':'#/components/schemas/ProxyTargetList'}},'total_models':" INT ",'timestamp':" TIME "}}" },
    { "ProxyStats",
      "{'type':'object','required':['summary','models','timestamp'],'properties':{'summary':{'type':'object','properties':{"
      "'total_models':" INT ",'total_targets':" INT ",'active_targets':" INT ",'total_requests':" INT ",'total_errors':" INT ","
      "'average_response_time':" NUM ",'error_rate':" NUM "}},'models':{'type':'object','additionalProperties':{'type':'object',"
      "'properties':{'total_targets':" INT ",'active_targets':" INT ",'targets':{'$ref':'#/components/schemas/ProxyTargetList'}}}},"
      "'timestamp':" TIME "}}" },
    { "ProxyModelStats",
      "{'type':'object','required':['model_id','time_range_hours','stats','timestamp'],'properties':{'model_id':" STR ","
      "'time_range_hours':" INT ",'stats':{'type':'object','properties':{'request_count':" INT ",'error_count':" INT ","
      "'average_response_time':" NUM ",'error_rate':" NUM ",'throughput':" NUM ",'prompt_tokens':" INT ",'output_tokens':" INT ","
      "'complete':{'type':'boolean','description':'The history that is kept reaches back over all of these hours.'},"
      "'total_targets':" INT ",'active_targets':" INT ",'since_start':{'type':'object','properties':{'total_requests':" INT ","
      "'total_errors':" INT ",'total_response_time':" INT "}}}},'timestamp':" TIME "}}" },
    { "ProxyHistory",
      "{'type':'object','required':['requests','total_count','model_id_filter','limit','timestamp'],'properties':{'requests':{'type':'array',"
      "'items':{'type':'object','properties':{'model_id':" STR ",'timestamp':" TIME ",'method':" STR ",'path':" STR ",'status_code':" INT ","
      "'status_class':{'type':'string','examples':['2xx']},"
      "'response_time':" INT ",'request_size':" INT ",'response_size':" INT ",'client_ip':" STR ",'user_agent':" STR ",'queue_time':" INT ","
      "'first_byte_time':" INT ",'prompt_tokens':" INT ",'output_tokens':" INT ",'instance':" STR ",'error_message':" STR "}}},"
      "'total_count':" INT ",'model_id_filter':" STR_NULL ",'limit':" INT ",'timestamp':" TIME "}}" },
    { "ProxyStrategy",
      "{'type':'object','required':['success','message','strategy','updated_at'],'properties':{'success':" BOOL ",'message':" STR ","
      "'strategy':" STR ",'updated_at':" TIME "}}" },
    { "ProxyStrategies",
      "{'type':'object','required':['strategy','models','strategies','timestamp'],'properties':{'strategy':" STR ",'models':{'type':'object',"
      "'additionalProperties':" STR "},'strategies':{'type':'array','items':{'type':'object','required':['name','description'],"
      "'properties':{'name':" STR ",'description':" STR "}}},'timestamp':" TIME "}}" },
    { "ProxyHealth",
      "{'type':'object','required':['status','total_models','total_targets','active_targets','inactive_targets','timestamp','message'],"
      "'properties':{'status':{'type':'string','enum':['healthy','degraded','unhealthy']},'total_models':" INT ",'total_targets':" INT ","
      "'active_targets':" INT ",'inactive_targets':" INT ",'timestamp':" TIME ",'message':" STR "}}" },
    { "GPUInfo",
      "{'type':'object','required':['device_id','name','vendor','memory_total','memory_used','memory_free','utilization','temperature',"
      "'power_usage','driver_version'],'properties':{'device_id':" INT ",'name':" STR ","
      "'vendor':{'type':'string','enum':['nvidia','amd','intel','unknown']},'memory_total':{'type':'integer','description':'All memory is in MiB.'},"
      "'memory_used':" INT ",'memory_free':" INT ",'utilization':{'type':'number','minimum':0,'maximum':100},'temperature':" NUM ",'power_usage':" NUM ","
      "'driver_version':" STR_NULL ",'id':" STR ",'uuid':" STR_NULL ",'pci':" STR_NULL ",'cpu':" BOOL ",'mig':" BOOL ","
      "'status':{'type':'string','enum':['ok','unresponsive']},'memory_foreign':{'type':'integer','description':'Of the used: held by nobody of ours.'},"
      "'power_limit':" NUM ",'clock':" NUM ",'memory_clock':" NUM ",'not_told':{'type':'array','items':" STR ","
      "'description':'Figures that the device does not tell; they are 0.'},'timestamp':" TIME ",'processes':{'type':'array','items':"
      "{'type':'object','required':['pid','memory','ours'],'properties':{'pid':" INT ",'memory':" INT_NULL ",'ours':" BOOL "}}}}}" },
    { "GPUInfoList", "{'type':'array','items':{'$ref':'#/components/schemas/GPUInfo'}}" },
    { "SystemOverview",
      "{'type':'object','required':['total_models','running_models','total_gpus','available_gpus','total_gpu_memory','used_gpu_memory',"
      "'system_uptime','last_updated'],'properties':{'total_models':" INT ",'running_models':" INT ",'total_gpus':" INT ","
      "'available_gpus':{'type':'integer','description':'Those that are less than 80 % busy.'},'total_gpu_memory':" INT ","
      "'used_gpu_memory':" INT ",'system_uptime':" INT ",'last_updated':" TIME "}}" },
    { "SystemResourceMetrics",
      "{'type':'object','required':['timestamp','cpu_usage','memory_usage','memory_total','memory_used','disk_usage','disk_total','disk_used',"
      "'network_sent','network_recv','load_average'],'properties':{'timestamp':" TIME ",'cpu_usage':" NUM ",'memory_usage':" NUM ","
      "'memory_total':" INT ",'memory_used':" INT ",'disk_usage':" NUM ",'disk_total':" NUM ",'disk_used':" NUM ",'network_sent':" INT ","
      "'network_recv':" INT ",'load_average':{'type':'array','minItems':3,'maxItems':3,'items':" NUM "}}}" },
    { "SystemResourceMetricsList", "{'type':'array','items':{'$ref':'#/components/schemas/SystemResourceMetrics'}}" },
    { "SystemInfo",
      "{'type':'object','required':['system','cpu','memory','disk','code','message','data','berth'],'properties':{'system':{'type':'object','properties':{"
      "'hostname':" STR ",'platform':" STR ",'system':" STR ",'release':" STR ",'version':" STR ",'machine':" STR ",'processor':" STR ","
      "'python_version':{'type':'null'},'python_executable':{'type':'null'},'boot_time':" TIME ",'current_time':" TIME ",'timezone':" STR "}},"
      "'cpu':{'type':'object','properties':{'cpu_count_logical':" INT ",'cpu_count_physical':" INT ",'cpu_freq':{'type':['object','null'],'properties':{"
      "'current':{'type':'number','description':'MHz'},'min':" NUM ",'max':" NUM "}}}},"
      "'memory':{'type':'object','properties':{'total':{'type':'integer','description':'Bytes.'},'available':" INT ",'percent':" NUM ",'used':" INT ",'free':" INT "}},"
      "'disk':{'type':'object','properties':{'total':{'type':'integer','description':'Bytes.'},'used':" INT ",'free':" INT ",'percent':" NUM "}},"
      "'code':" INT ",'message':" STR ",'data':" A("SystemInfoData") ",'berth':" A("BerthInfo") "}}" },
    { "SystemInfoData",
      "{'type':'object','required':['version','environment','queue_status'],'properties':{'version':" STR ",'environment':" STR ",'database_stats':{'type':'object','properties':{"
      "'open_connections':" INT ",'in_use':" INT ",'idle':" INT ",'wait_count':" INT "}},'redis_info':{'type':'null'},'queue_status':" A("QueueStatus") "}}" },
    { "BerthInfo",
      "{'type':'object','required':['version','started_at','uptime','data_dir','config_file','listen','store','queue'],'properties':{'version':" STR ",'started_at':" TIME ","
      "'uptime':{'type':'integer','description':'Seconds.'},'data_dir':" STR ",'config_file':" STR_NULL ",'listen':" STRS ","
      "'store':{'type':'object','required':['kind','path','size_bytes','read_only'],'properties':{'kind':{'const':'sqlite'},'path':" STR ",'size_bytes':{'type':'integer','description':'With its journal.'},"
      "'read_only':{'type':['string','null'],'description':'Why it takes no more changes; null: it does.'}}},"
      "'queue':{'type':'object','required':['kind','pending','running'],'properties':{'kind':{'type':'string','description':'Where tasks wait: in the store.'},'pending':" INT ",'running':" INT "}}}}" },
    { "SystemLogs",
      "{'type':'object','required':['logs','total_lines','log_file','filters'],'properties':{'logs':" STRS ",'total_lines':{'type':'integer','description':'Of those that are kept (1 MiB), how many match.'},"
      "'log_file':" STR ",'filters':{'type':'object','required':['lines','level','since','q'],'properties':{'lines':" INT ",'level':" STR_NULL ",'since':" TIME_NULL ",'q':" STR_NULL "}}}}" },
    { "SystemHealth",
      "{'type':'object','required':['status','timestamp','components','code','message','data'],'properties':{"
      "'status':{'type':'string','enum':['healthy','degraded','unhealthy']},'timestamp':" TIME ",'components':{'type':'object','additionalProperties':"
      "{'type':'object','required':['status','message'],'properties':{'status':{'type':'string','enum':['healthy','warning','critical']},'message':" STR ","
      "'gpu_count':" INT ",'free_percent':" NUM ",'usage_percent':" NUM "}}},'code':" INT ",'message':" STR ",'data':" OBJECT "}}" },
    { "SchedulerStatus",
      "{'type':'object','required':['scheduler','models','timestamp'],'properties':{'scheduler':{'type':'object','properties':{'status':{'const':'running'},"
      "'last_schedule_time':{'type':['string','null'],'format':'date-time','description':'Of the last decision; null: there was none yet.'},"
      "'auto_scheduling_enabled':" BOOL ",'preemption_enabled':" BOOL ",'total_schedules_today':" INT ",'successful_schedules':" INT ","
      "'failed_schedules':" INT ",'preemptions_last_hour':" INT ",'preemptions_last_day':" INT "}},'models':{'type':'object','properties':{"
      "'total':" INT ",'running':" INT ",'queued':{'type':'integer','description':'Of status queued, preempted or starting.'},"
      "'failed':{'type':'integer','description':'Of status error.'}}},'timestamp':" TIME "}}" },
    { "QueuedModel",
      "{'allOf':[{'$ref':'#/components/schemas/ModelInfo'},{'type':'object','required':['queue_position','estimated_start_time'],'properties':{"
      "'queue_position':" INT ",'estimated_start_time':{'type':['string','null'],'format':'date-time','description':'null: nobody knows.'},"
      "'reason':{'type':['string','null'],'description':'Why it is not running.'},'waiting':{'type':'number','description':'Seconds.'},"
      "'reserved':{'type':'boolean','description':'Its place (gpu_devices) is kept; it waits for others to leave it.'}}}]}" },
    { "SchedulerQueue",
      "{'type':'object','required':['queue','total_count','timestamp'],'properties':{'queue':{'type':'array','items':"
      "{'$ref':'#/components/schemas/QueuedModel'}},'total_count':" INT ",'timestamp':" TIME "}}" },
    { "SchedulerEntry",
      "{'type':'object','required':['id','model_id','model_name','action','timestamp','gpu_devices','result','reason','duration','resource_usage'],"
      "'properties':{'id':" STR ",'model_id':" STR ",'model_name':" STR ",'action':{'type':'string','enum':['scheduled','preempted','failed','recovered']},"
      "'timestamp':" TIME ",'gpu_devices':" INTS ",'result':{'type':'string','enum':['success','failed']},'reason':" STR ","
      "'duration':{'type':'number','description':'Seconds from the decision until it was carried out; 0 before (ended: false).'},'ended':" BOOL ","
      "'resource_usage':{'type':'object','properties':{'gpu_memory':" INT ",'cpu_cores':" INT ",'system_memory':" INT "}},"
      "'decision':{'type':'string','description':'The action in more words: swapped is a model that gave way to an equal.'},"
      "'made_room_for':{'type':['string','null'],'description':'The model that this one was moved aside for.'}}}" },
    { "SchedulerHistory",
      "{'type':'object','required':['history','total_count','matching','filters','timestamp'],'properties':{'history':{'type':'array','items':"
      "{'$ref':'#/components/schemas/SchedulerEntry'}},'total_count':{'type':'integer','description':'Of the entries told here.'},"
      "'matching':{'type':'integer','description':'How many match, of all pages.'},"
      "'filters':{'type':'object','properties':{'limit':" INT ",'hours':" INT ",'model_id':" STR_NULL "}},'timestamp':" TIME "}}" },
    { "SchedulerDevice",
      "{'type':'object','required':['gpu_id','gpu_name','memory_total','memory_used','memory_free','utilization','temperature','power_usage',"
      "'allocated_models','allocation_status'],'properties':{'gpu_id':" INT ",'gpu_name':" STR ",'memory_total':{'type':'integer','description':'All memory is in MiB.'},"
      "'memory_used':" INT ",'memory_free':" INT ",'utilization':" NUM ",'temperature':" NUM ",'power_usage':" NUM ","
      "'allocation_status':{'type':'string','enum':['allocated','free']},'cpu':" BOOL ",'allocated_models':{'type':'array','items':{'type':'object',"
      "'required':['model_id','model_name','priority','memory_usage','start_time'],'properties':{'model_id':" STR ",'model_name':" STR ",'priority':" INT ","
      "'memory_usage':{'type':['integer','null'],'description':'As measured; null before.'},'start_time':" TIME_NULL ",'memory_reserved':" INT ","
      "'instance':" STR ",'state':" STR "}}},'placement':{'type':'object','description':'What placement reckons with.','properties':{"
      "'placeable':{'type':'integer','description':'The total times the threshold.'},'reserved':" INT ","
      "'held':{'type':'integer','description':'Of engines that have ended and whose memory was not seen to be free yet.'},'others':" INT ",'free':" INT "}}}}" },
    { "SchedulerResources",
      "{'type':'object','required':['gpu_allocation','summary','timestamp'],'properties':{'gpu_allocation':{'type':'array','items':"
      "{'$ref':'#/components/schemas/SchedulerDevice'}},'summary':{'type':'object','properties':{'total_gpus':{'type':'integer',"
      "'description':'Of the devices told here: on a machine without a GPU, its CPU.'},'allocated_gpus':" INT ",'free_gpus':" INT ",'total_models':" INT ","
      "'total_memory_used':" INT ",'total_memory_available':{'type':'integer','description':'The sum of the totals.'}}},'timestamp':" TIME "}}" },
    { "SchedulerPolicy",
      "{'type':'object','properties':{'scheduling_algorithm':{'type':'string','enum':['priority_based','spread','first_come'],'default':'priority_based'},"
      "'preemption_enabled':{'type':'boolean','default':true},'auto_recovery_enabled':{'type':'boolean','default':true},"
      "'resource_threshold':{'type':'number','minimum':0.1,'maximum':1.0,'default':0.8},'priority_levels':{'type':'integer','minimum':1,'maximum':20,'default':10},"
      "'max_queue_size':{'type':'integer','default':50},'scheduling_interval':{'type':'integer','minimum':10,'maximum':300,'default':30},"
      "'health_check_interval':{'type':'integer','minimum':1,'maximum':3600,'default':60}}}" },
    { "SchedulerPolicySet",
      "{'type':'object','required':['success','message','policy','restart_required','updated_at'],'properties':{'success':" BOOL ",'message':" STR ","
      "'policy':{'$ref':'#/components/schemas/SchedulerPolicy'},'restart_required':{'const':false},'updated_at':" TIME "}}" },
    { "ScheduleRequest",
      "{'type':'object','required':['model_id'],'properties':{'model_id':" STR ",'priority':{'type':['integer','null'],'minimum':1,'maximum':10,"
      "'description':'Saved to the definition first.'},'force':{'type':'boolean','default':false,"
      "'description':'Place it again when it runs; pay no heed to the threshold, to how long others have been there, nor to how long ago it was moved itself.'},"
      "'allow_preemption':{'type':'boolean','default':true,'description':'false: only where there is room already.'},"
      "'dry_run':{'type':'boolean','default':false,'description':'Only say what would happen.'}}}" },
    { "ScheduleAnswer",
      "{'type':'object','required':['success','message','model_id','gpu_devices','preempted_models','schedule_time','history_id'],'properties':{"
      "'success':{'type':'boolean','description':'It has a place.'},'message':" STR ",'model_id':" STR ",'gpu_devices':" INTS ",'preempted_models':" STRS ","
      "'schedule_time':" TIME ",'history_id':" STR_NULL ",'outcome':{'type':'string','enum':['placed','queued','failed']},'dry_run':" BOOL ","
      "'estimated_start_time':" TIME_NULL "}}" },
    { "PrioritizeAnswer",
      "{'type':'object','required':['success','message'],'properties':{'success':" BOOL ",'message':" STR ",'model_id':" STR ",'old_priority':" INT ","
      "'new_priority':" INT ",'updated_at':" TIME ",'current_priority':{'type':'integer','description':'When it was the highest already.'}}}" },
    { "CancelAnswer",
      "{'type':'object','required':['success','message','model_id','cancelled_at'],'properties':{'success':" BOOL ",'message':" STR ",'model_id':" STR ","
      "'cancelled_at':" TIME "}}" },
    { "RestartAnswer",
      "{'type':'object','required':['success','message','restart_requested_at','note'],'properties':{'success':" BOOL ",'message':" STR ","
      "'restart_requested_at':" TIME ",'note':" STR "}}" },
    { "SchedulerHealth",
      "{'type':'object','required':['status','timestamp','components'],'properties':{'status':{'type':'string','enum':['healthy','degraded','unhealthy']},"
      "'timestamp':" TIME ",'components':{'type':'object','required':['scheduler_core','resource_monitor','model_manager'],'additionalProperties':"
      "{'type':'object','required':['status','message'],'properties':{'status':{'type':'string','enum':['healthy','degraded','unhealthy']},'message':" STR "}}}}}" },
    { "PlaceBytes",
      "{'type':'object','required':['devices','host_bytes'],'properties':{'devices':{'type':'array','items':{'type':'object','required':['device','bytes'],"
      "'properties':{'device':" INT ",'bytes':" INT "}}},'host_bytes':" INT "}}" },
    { "MemoryNeed",
      "{'type':'object','required':['source','min_devices','max_devices','share','load_seconds','split_bytes','fixed_bytes','host_bytes','weight_bytes','kv_bytes','compute_bytes','runtime_bytes','declared_bytes','estimated_bytes','measured_bytes'],"
      "'properties':{'source':{'type':'string','enum':['unknown','declared','estimated','measured']},'min_devices':" INT ",'max_devices':" INT ",'share':{'type':'number','description':'Of each device; 0: by bytes.'},"
      "'load_seconds':" NUM ",'split_bytes':" INT ",'fixed_bytes':" INT ",'host_bytes':" INT ",'weight_bytes':" INT ",'kv_bytes':" INT ",'compute_bytes':" INT ",'runtime_bytes':" INT ","
      "'declared_bytes':" INT ",'estimated_bytes':" INT ",'measured_bytes':" INT "}}" },
    { "SchedulerWhy",
      "{'type':'object','required':['model_id','priority','wanted','status','sentence','need','instances','candidates','moves'],'properties':{'model_id':" STR ",'priority':" INT ",'wanted':" BOOL ",'status':" STR ",'sentence':" STR ","
      "'need':{'anyOf':[" A("MemoryNeed") ",{'type':'null'}]},'instances':{'type':'array','items':{'type':'object','required':['instance','state','displaced','reserved','place','taken'],'properties':{"
      "'instance':" STR ",'state':" STR ",'displaced':" BOOL ",'reserved':" BOOL ",'place':" A("PlaceBytes") ",'taken':{'anyOf':[" A("PlaceBytes") ",{'type':'null'}]},"
      "'reason':" STR ",'sentence':" STR ",'start_in_ms':{'type':'integer','description':'0: nobody knows.'},'last_error':" STR "}}},"
      "'candidates':{'type':'array','description':'Of one that waits: where it could go.','items':{'type':'object','required':['device','name','placeable_bytes','free_bytes','movable_bytes','other_bytes','need_bytes'],"
      "'properties':{'device':" INT ",'name':" STR ",'placeable_bytes':" INT ",'free_bytes':" INT ",'movable_bytes':" INT ",'other_bytes':" INT ",'need_bytes':" INT "}}},"
      "'moves':{'type':'array','items':" STR ",'description':'Which models would have to go, if it were asked for with force.'}}}" },
    { "GPUMetrics",
      "{'type':'object','required':['device_id','timestamp','utilization','memory_used','memory_total','temperature','power_usage'],'properties':{"
      "'device_id':" INT ",'timestamp':" TIME_NULL ",'utilization':" NUM ",'memory_used':" INT ",'memory_total':" INT ",'temperature':" NUM ",'power_usage':" NUM "}}" },
    { "GPUMetricsList", "{'type':'array','items':{'$ref':'#/components/schemas/GPUMetrics'}}" },
    { "MonitoringSystem",
      "{'allOf':[{'$ref':'#/components/schemas/SystemOverview'},{'type':'object','required':['gpu_metrics','system_metrics'],'properties':{"
      "'gpu_metrics':{'$ref':'#/components/schemas/GPUMetricsList'},'system_metrics':{'type':'object','properties':{'cpu_percent':" NUM ","
      "'memory_percent':" NUM ",'disk_percent':" NUM "}}}}]}" },
    { "FileList",
      "{'type':'object','required':['path','directories','files','parent','allowed_roots','total_count','truncated'],'properties':{'path':" STR ","
      "'directories':{'type':'array','items':{'type':'object','required':['name','path','accessible','is_model','modified'],'properties':{'name':" STR ",'path':" STR ","
      "'accessible':" BOOL ",'is_model':{'type':'boolean','description':'It holds a config.json.'},'modified':" TIME "}}},"
      "'files':{'type':'array','items':{'type':'object','required':['name','size','modified','is_model','path'],'properties':{'name':" STR ",'size':" INT ",'modified':" TIME ","
      "'is_model':{'type':'boolean','description':'By its ending.'},'path':" STR "}}},'parent':{'type':['string','null'],'description':'null: it may not be shown.'},"
      "'allowed_roots':" STRS ",'total_count':{'type':'integer','description':'Folders and files, of all pages.'},'truncated':{'type':'boolean','description':'There are more than are looked at; q finds some of them.'},"
      "'message':{'type':'string','description':'Why nothing is shown.'}}}" },
    { "FileCheck",
      "{'type':'object','required':['valid','path'],'properties':{'valid':" BOOL ",'path':" STR ",'message':" STR ",'is_model':" BOOL ","
      "'file_info':{'type':'object','required':['name','size','modified','is_directory'],'properties':{'name':" STR ",'size':" INT ",'modified':" TIME ",'is_directory':" BOOL "}}}}" },
    { "FileRootList",
      "{'type':'array','items':{'type':'object','required':['path','name','accessible'],'properties':{'path':" STR ",'name':" STR ",'accessible':" BOOL "}}}" },
    { "ServiceTimes",
      "{'type':'object','required':['mean','p95'],'description':'Milliseconds; null: no request ended well.','properties':{'mean':" NUM_NULL ",'p95':" NUM_NULL "}}" },
    { "ServiceSample",
      "{'type':'object','required':['timestamp','seconds','requests','errors','prompt_tokens','output_tokens','first_byte','total','queue','in_flight','waiting',"
      "'tasks_pending','tasks_running'],'properties':{'timestamp':" TIME ",'seconds':{'type':'number','description':'How long the step was that it sums up.'},"
      "'requests':{'type':'integer','description':'That ended in the step, of all models.'},'errors':{'type':'integer','description':'Of status 500 and above.'},"
      "'prompt_tokens':" INT ",'output_tokens':" INT ",'first_byte':" A("ServiceTimes") ",'total':" A("ServiceTimes") ",'queue':" A("ServiceTimes") ","
      "'in_flight':{'type':'integer','description':'At the end of the step, as are the next three.'},'waiting':" INT ",'tasks_pending':" INT ",'tasks_running':" INT "}}" },
    { "ServiceSampleList", LIST_OF("ServiceSample") },
    { "ServiceNow",
      "{'type':'object','required':['type','service','devices','host'],'properties':{'type':{'const':'sample'},"
      "'service':{'anyOf':[" A("ServiceSample") ",{'type':'null'}]},'devices':" A("GPUMetricsList") ",'host':" A("SystemResourceMetrics") "}}" },
    { "ModelMetrics",
      "{'type':'object','required':['model_id','time_range','request_count','average_response_time','error_rate','throughput','gpu_utilization'],'properties':{"
      "'model_id':" STR ",'time_range':{'type':'object','description':'What was really watched: an hour at most.','properties':{'start_time':" TIME ",'end_time':" TIME "}},"
      "'request_count':" INT ",'average_response_time':{'type':'number','description':'Milliseconds.'},'error_rate':{'type':'number','description':'Percent.'},"
      "'throughput':{'type':'number','description':'Requests a second.'},'gpu_utilization':{'type':'array','items':" NUM ","
      "'description':'Percent, every 10 seconds, of the devices that it lies on, in the mean.'}}}" },
    { "ModelPerformanceMetrics",
      "{'type':'object','required':['model_id','timestamp','request_count','total_response_time','error_count','active_connections','memory_usage',"
      "'cpu_usage','gpu_utilization'],'properties':{'model_id':" STR ",'timestamp':" TIME ",'request_count':{'type':'integer',"
      "'description':'Ended since the sample before.'},'total_response_time':{'type':'integer','description':'Milliseconds, of these.'},'error_count':" INT ","
      "'active_connections':" INT ",'memory_usage':{'type':'integer','description':'MiB, as measured; 0 before.'},'cpu_usage':{'type':'number',"
      "'description':'Percent of one core.'},'gpu_utilization':" NUM "}}" },
    { "ModelPerformanceMetricsList", "{'type':'array','items':{'$ref':'#/components/schemas/ModelPerformanceMetrics'}}" },
    { "MonitoringHealth",
      "{'type':'object','required':['model_id','health_status','timestamp'],'properties':{'model_id':" STR ","
      "'health_status':{'type':'string','enum':['healthy','unhealthy','unknown']},'timestamp':" TIME "}}" },
    { "Event",
      "{'type':'object','required':['id','at','kind','subject','data'],'properties':{'id':" INT ",'at':" TIME ",'kind':" STR ","
      "'subject':" STR ",'data':" OBJECT "}}" },
    { "EventList",
      "{'type':'object','required':['events'],'properties':{'events':{'type':'array','items':{'$ref':'#/components/schemas/Event'}},"
      "'total_count':{'type':'integer','description':'How many match, of all pages; where offset or q is given.'}}}" },
    { "Health",
      "{'type':'object','required':['status','service','version','timestamp','database','redis'],'properties':{"
      "'status':{'type':'string','enum':['healthy','degraded']},'service':" STR ",'name':" STR ",'version':" STR ",'timestamp':" TIME ","
      "'database':{'type':'string','enum':['ok','read_only']},'redis':{'const':'disabled'},'uptime':" INT ",'reason':" STR "}}" },
    { "Ready",
      "{'type':'object','required':['status','reasons','models'],'properties':{"
      "'status':{'type':'string','enum':['starting','ready','draining']},'reasons':" STRS ",'models':{'type':'object','properties':{"
      "'defined':" INT ",'wanted':" INT ",'ready':" INT ",'failed':" INT "}}}}" },
    { "Root",
      "{'type':'object','required':['name','version','status','code','message','data'],'properties':{'name':" STR ",'version':" STR ","
      "'status':" STR ",'code':" INT ",'message':" STR ",'data':" OBJECT "}}" },
    { "Config",
      "{'type':'object','required':['options'],'properties':{'path':" STR_NULL ",'data_dir':" STR ",'options':{'type':'object',"
      "'additionalProperties':{'type':'object','additionalProperties':{'$ref':'#/components/schemas/ConfigOption'}}}}}" },
    { "ConfigOption",
      "{'type':'object','required':['value','source','default','help','range','words','reload','secret'],'properties':{"
      "'value':{'description':'Secrets as three stars.'},'source':{'type':'string','description':'default, FILE:LINE, or the variable of the environment.'},"
      "'default':{'type':'string','description':'As it would be written in the file.'},'help':" STR ",'range':" STR_NULL ","
      "'words':{'type':['string','null'],'description':'What it may be, separated by spaces.'},"
      "'reload':{'type':'boolean','description':'A change takes effect without a restart.'},'secret':" BOOL "}}" },
    { "OpenAIModel",
      "{'type':'object','required':['id','object','created','owned_by'],'properties':{'id':" STR ",'object':{'const':'model'},"
      "'created':" INT ",'owned_by':" STR ",'status':" STR "}}" },
    { "OpenAIModelList",
      "{'type':'object','required':['object','data'],'properties':{'object':{'const':'list'},"
      "'data':{'type':'array','items':{'$ref':'#/components/schemas/OpenAIModel'}}}}" },
    { "Usage",
      "{'type':'object','properties':{'prompt_tokens':" INT ",'completion_tokens':" INT ",'total_tokens':" INT "}}" },
    { "ChatCompletionRequest",
      "{'type':'object','required':['model','messages'],'properties':{'model':" STR ",'messages':{'type':'array','items':{'type':'object',"
      "'required':['role'],'properties':{'role':{'type':'string','examples':['user']},'content':{'description':'A text, or a list of parts.','examples':['Hello']}}}},'temperature':" NUM_NULL ",'stream':" BOOL ",'stream_options':{'type':['object','null'],"
      "'properties':{'include_usage':" BOOL "}},'max_tokens':" INT_NULL ",'max_completion_tokens':" INT_NULL "},"
      "'description':'Members that are not named here reach the engine as they came.'}" },
    { "ChatCompletion",
      "{'type':'object','properties':{'id':" STR ",'object':" STR ",'created':" INT ",'model':" STR ",'choices':{'type':'array','items':"
      "{'type':'object','properties':{'index':" INT ",'message':{'type':'object','properties':{'role':" STR ",'content':" STR_NULL "}},'finish_reason':" STR_NULL "}}},'usage':{'$ref':'#/components/schemas/Usage'}}}" },
    { "CompletionRequest",
      "{'type':'object','required':['model','prompt'],'properties':{'model':" STR ",'prompt':{},'stream':" BOOL ","
      "'stream_options':{'type':['object','null'],'properties':{'include_usage':" BOOL "}},'max_tokens':" INT_NULL "},"
      "'description':'Members that are not named here reach the engine as they came.'}" },
    { "Completion",
      "{'type':'object','properties':{'id':" STR ",'object':" STR ",'created':" INT ",'model':" STR ",'choices':{'type':'array','items':"
      OBJECT "},'usage':{'$ref':'#/components/schemas/Usage'}}}" },
    { "RerankRequest",
      "{'type':'object','required':['model','query','documents'],'properties':{'model':" STR ",'query':" STR ",'documents':{'type':'array',"
      "'items':" STR "},'top_n':" INT "}}" },
    { "RerankResult",
      "{'type':'object','properties':{'model':" STR ",'results':{'type':'array','items':{'type':'object','properties':{'index':" INT ","
      "'relevance_score':" NUM "}}},'usage':{'$ref':'#/components/schemas/Usage'}}}" },
    { "ResponseRequest",
      "{'type':'object','required':['model','input'],'properties':{'model':" STR ",'input':{},'instructions':" STR_NULL ",'stream':" BOOL ","
      "'max_output_tokens':" INT_NULL "}}" },
    { "Response",
      "{'type':'object','properties':{'id':" STR ",'object':" STR ",'status':" STR ",'model':" STR ",'output':{'type':'array','items':" OBJECT "},"
      "'usage':{'type':'object','properties':{'input_tokens':" INT ",'output_tokens':" INT ",'total_tokens':" INT "}}}}" },
    { "MessageRequest",
      "{'type':'object','required':['model','messages'],'properties':{'model':" STR ",'messages':{'type':'array','items':{'type':'object',"
      "'required':['role','content'],'properties':{'role':{'enum':['user','assistant']},'content':{'examples':['Hello']}}}},'max_tokens':" INT ",'system':{},"
      "'stream':" BOOL "}}" },
    { "Message",
      "{'type':'object','properties':{'id':" STR ",'type':{'const':'message'},'role':{'const':'assistant'},'model':" STR ","
      "'content':{'type':'array','items':" OBJECT "},'stop_reason':" STR_NULL ",'usage':{'type':'object','properties':{"
      "'input_tokens':" INT ",'output_tokens':" INT "}}}}" },
    { "MessageTokens", "{'type':'object','properties':{'input_tokens':" INT "}}" },
    { "EmbeddingRequest",
      "{'type':'object','required':['model','input'],'properties':{'model':" STR ",'input':{}}}" },
    { "EmbeddingList",
      "{'type':'object','properties':{'object':" STR ",'model':" STR ",'data':{'type':'array','items':" OBJECT "},"
      "'usage':{'$ref':'#/components/schemas/Usage'}}}" },
    { "EmptyAnswer", "{'type':'object','required':['code','message'],'properties':{'code':{'const':0},'message':" STR "}}" },
    { "Task", "{'type':'object'," TASK_REQUIRED ",'properties':{" TASK_FIELDS TASK_BODIES ",'model':{'anyOf':[" A("TaskModel") ",{'type':'null'}]}}}" },
    { "TaskAnswer", ANSWER(A("Task")) },
    { "TaskPage",
      "{'type':'object','required':['code','message','data','total','page','size'],'properties':{'code':{'const':0},'message':" STR ","
      "'data':" LIST_OF("Task") ",'total':" INT ",'page':" INT ",'size':" INT "}}" },
    { "TaskDetails",
      "{'type':'object'," TASK_REQUIRED ",'properties':{" TASK_FIELDS TASK_BODIES ",'options':{'type':['object','null']},"
      "'model':{'anyOf':[" A("TaskModel") ",{'type':'null'}]},'logs':{'type':'array','items':{'type':'object',"
      "'required':['id','task_id','level','message','data','created_at'],'properties':{'id':" INT ",'task_id':" INT ","
      "'level':{'type':'string','enum':['debug','info','warn','error']},'message':" STR ",'data':{'type':['object','null']},'created_at':" TIME "}}},"
      "'waiting':{'type':['object','null'],'required':['reason','place','estimated_start'],"
      "'properties':{'reason':" STR ",'place':" INT_NULL ",'estimated_start':" TIME_NULL "}}}}" },
    { "TaskDetailsAnswer", ANSWER(A("TaskDetails")) },
    { "TaskCreate",
      "{'type':'object','required':['model_id','type','input'],'properties':{'model_id':{'type':['integer','string'],'description':'Its number, or its name.'},"
      "'type':{'type':'string','description':'One of /api/v1/task-types.'},'input':{'description':'A text; or an object or list, which is taken as it is written.'},"
      "'priority':{'type':'integer','minimum':1,'maximum':3,'description':'1 low, 2 medium, 3 high.'},'delay':" DURATION ",'run_at':" TIME_NULL ","
      "'max_retries':{'type':['integer','null'],'minimum':0},'timeout':" DURATION ",'webhook':" STR_NULL ",'options':{'type':['object','null']}}}" },
    { "TaskUpdate",
      "{'type':'object','properties':{'priority':{'type':'integer','minimum':1,'maximum':3},'status':{'type':'string','enum':['cancelled','pending']}}}" },
    { "TaskBulk",
      "{'type':'object','required':['action','ids'],'properties':{'action':{'type':'string','enum':['cancel','retry','delete']},"
      "'ids':{'type':'array','minItems':1,'maxItems':100,'items':{'type':'integer','minimum':1}},'again':{'type':'boolean','description':'retry: also of those that have used up all their tries.'}}}" },
    { "TaskBulkAnswer",
      ANSWER("{'type':'object','required':['action','succeeded','failed','results'],'properties':{'action':" STR ",'succeeded':" INT ",'failed':" INT ","
             "'results':{'type':'array','items':{'type':'object','required':['id','success','error'],'properties':{'id':" INT ",'success':" BOOL ",'error':" STR_NULL "}}}}}") },
    { "TaskPriority", "{'type':'object','required':['priority'],'properties':{'priority':{'type':'integer','minimum':1,'maximum':3}}}" },
    { "TaskTypesAnswer",
      ANSWER("{'type':'array','items':{'type':'object','required':['name','endpoint','help','output','built_in'],'properties':{'name':" STR ","
             "'endpoint':" STR_NULL ",'help':" STR_NULL ",'output':{'type':'string','enum':['text','embedding','body']},'built_in':" BOOL ","
             "'template':{},'defaults':" OBJECT "}}}") },
    { "TaskStats", "{'type':'object','required':[" TASK_COUNTERS_REQUIRED "],'properties':{" TASK_COUNTERS "}}" },
    { "TaskStatsAnswer", ANSWER(A("TaskStats")) },
    { "TaskDaysAnswer",
      ANSWER("{'type':'array','items':{'type':'object','required':['date','total','completed','failed','avg_processing_ms'],"
             "'properties':{'date':{'type':'string','format':'date'},'total':" INT ",'completed':" INT ",'failed':" INT ",'cancelled':" INT ",'avg_processing_ms':" NUM "}}}") },
    { "TaskModelsAnswer",
      ANSWER("{'type':'array','items':{'type':'object','required':['model_name','model_type'," TASK_COUNTERS_REQUIRED "],"
             "'properties':{'model_id':" INT ",'model_name':" STR_NULL ",'model_type':" STR_NULL "," TASK_COUNTERS "}}}") },
    { "TaskKindsAnswer",
      ANSWER("{'type':'array','items':{'type':'object','required':['type'," TASK_COUNTERS_REQUIRED "],'properties':{'type':" STR "," TASK_COUNTERS "}}}") },
    { "QueueStatus",
      "{'type':'object','required':['high_priority_count','medium_priority_count','low_priority_count','processing_count','delayed_count','total_count'],"
      "'properties':{'high_priority_count':" INT ",'medium_priority_count':" INT ",'low_priority_count':" INT ",'processing_count':" INT ","
      "'delayed_count':" INT ",'total_count':" INT "}}" },
    { "TaskModel", "{'type':'object','required':[" TASK_MODEL_REQUIRED "],'properties':{" TASK_MODEL_FIELDS "}}" },
    { "TaskModelAnswer", ANSWER(A("TaskModel")) },
    { "TaskModelsList", ANSWER(LIST_OF("TaskModel")) },
    { "TaskModelStats",
      "{'type':'object','required':[" TASK_MODEL_REQUIRED ",'pending_tasks','running_tasks','success_rate','avg_response_ms'],'properties':{" TASK_MODEL_FIELDS ","
      "'pending_tasks':" INT ",'running_tasks':" INT ",'success_rate':" NUM ",'avg_response_ms':" NUM "}}" },
    { "TaskModelStatsList", ANSWER(LIST_OF("TaskModelStats")) },
    { "TaskModelCreate", "{'type':'object','required':['name','type','config'],'properties':{" TASK_MODEL_WORDS "}}" },
    { "TaskModelUpdate", "{'type':'object','properties':{" TASK_MODEL_WORDS "}}" },
    { "TaskModelStatus",
      "{'type':'object','required':['status'],'properties':{'status':{'type':'string','enum':['online','offline','maintenance']}}}" },
    { "DashboardAnswer",
      ANSWER("{'type':'object','required':['task_stats','model_stats','queue_status','worker_status','system_stats','recent_tasks'],'properties':{"
             "'task_stats':" A("TaskStats") ",'model_stats':" LIST_OF("TaskModelStats") ",'queue_status':" A("QueueStatus") ","
             "'worker_status':{'type':'array','items':{'type':'object','required':['worker_id','model_id','model_name','status','current_task_id','start_time','last_heartbeat'],"
             "'properties':{'worker_id':" STR ",'model_id':" INT ",'model_name':" STR ",'status':{'type':'string','enum':['idle','busy']},"
             "'current_task_id':" INT_NULL ",'start_time':" TIME_NULL ",'last_heartbeat':" TIME "}}},"
             "'system_stats':{'type':'object','required':['id','stat_date','total_tasks','completed_tasks','failed_tasks','avg_processing_time_ms','queue_length','active_models','created_at'],"
             "'properties':{'id':" INT ",'stat_date':{'type':'string','format':'date'},'total_tasks':" INT ",'completed_tasks':" INT ",'failed_tasks':" INT ","
             "'avg_processing_time_ms':" NUM ",'queue_length':" INT ",'active_models':" INT ",'created_at':" TIME "}},"
             "'recent_tasks':" LIST_OF("Task") "}}") },
    { "OpenAIFile",
      "{'type':'object','required':['id','object','bytes','created_at','filename','purpose','status'],'properties':{'id':" STR ","
      "'object':{'const':'file'},'bytes':" INT ",'created_at':" INT ",'expires_at':" INT ",'filename':" STR ","
      "'purpose':{'type':'string','enum':['batch','batch_output']},'status':{'const':'processed'}}}" },
    { "OpenAIFileList",
      "{'type':'object','required':['object','data','has_more'],'properties':{'object':{'const':'list'},"
      "'data':{'type':'array','items':{'$ref':'#/components/schemas/OpenAIFile'}},'first_id':" STR_NULL ",'last_id':" STR_NULL ","
      "'has_more':" BOOL "}}" },
    { "OpenAIFileDeleted",
      "{'type':'object','required':['id','object','deleted'],'properties':{'id':" STR ",'object':{'const':'file'},'deleted':" BOOL "}}" },
    { "OpenAIBatchRequest",
      "{'type':'object','required':['input_file_id','endpoint','completion_window'],'properties':{'input_file_id':" STR ","
      "'endpoint':{'type':'string','enum':['/v1/chat/completions','/v1/completions','/v1/embeddings','/v1/responses']},"
      "'completion_window':{'type':'string','examples':['24h'],'description':'A duration of at least 1m.'},"
      "'metadata':{'type':['object','null'],'maxProperties':16,'additionalProperties':{'type':'string','maxLength':512}},"
      "'output_expires_after':{'type':['object','null'],'properties':{'anchor':{'const':'created_at'},'seconds':" INT "}},"
      "'webhook':{'type':['string','null'],'description':'URL that is told when the batch has ended; see webhooks.allow.'}}}" },
    { "OpenAIBatch",
      "{'type':'object','required':['id','object','endpoint','input_file_id','completion_window','status','created_at','request_counts'],"
      "'properties':{'id':" STR ",'object':{'const':'batch'},'endpoint':" STR ",'errors':{'type':['object','null'],'properties':{"
      "'object':{'const':'list'},'data':{'type':'array','items':{'type':'object','properties':{'code':" STR ",'line':" INT_NULL ","
      "'message':" STR ",'param':" STR_NULL "}}}}},'input_file_id':" STR ",'completion_window':" STR ","
      "'status':{'type':'string','enum':['validating','failed','in_progress','finalizing','completed','expired','cancelling','cancelled']},"
      "'output_file_id':" STR_NULL ",'error_file_id':" STR_NULL ",'created_at':" INT ",'in_progress_at':" INT_NULL ",'expires_at':" INT_NULL ","
      "'finalizing_at':" INT_NULL ",'completed_at':" INT_NULL ",'failed_at':" INT_NULL ",'expired_at':" INT_NULL ",'cancelling_at':" INT_NULL ","
      "'cancelled_at':" INT_NULL ",'request_counts':{'type':'object','properties':{'total':" INT ",'completed':" INT ",'failed':" INT "}},"
      "'metadata':{'type':['object','null']}}}" },
    { "OpenAIBatchList",
      "{'type':'object','required':['object','data','has_more'],'properties':{'object':{'const':'list'},"
      "'data':{'type':'array','items':{'$ref':'#/components/schemas/OpenAIBatch'}},'first_id':" STR_NULL ",'last_id':" STR_NULL ","
      "'has_more':" BOOL "}}" },
};
// clang-format on
const size_t api_schema_count = ARRAY_SIZE(api_schemas);
