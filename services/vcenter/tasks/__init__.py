"""Tasks of vCenter, one flow each, in the order of the documents' numbered lists.

- ``encrypt``  EncryptVm        - ``power``  PowerOnVm, PowerOffVm, CryptoUnlock
- ``vm``       CreateVm         - ``host``   AddHost, RemoveHost, ConfigureCryptoKey,
                                                   ClearTpmRecord, PrepareCrypto,
                                                   DisableCrypto, SetCryptoMode
- ``provider`` RegisterKmsCluster, UnregisterKmsCluster, MarkDefault, GenerateKey
"""
